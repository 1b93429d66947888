//go:build linux

package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func space(t *testing.T) (string, *NS) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	path := filepath.Join(t.TempDir(), "sub", "ns")
	must(t, Create(path))
	ns, err := Open(path)
	must(t, err)
	t.Cleanup(func() { ns.Close(); Remove(path) })
	return path, ns
}

func TestCreateAndRemove(t *testing.T) {
	path, ns := space(t)
	must(t, Create(path)) // leaves it as it is
	again, err := Open(path)
	must(t, err)
	defer again.Close()
	here, err := Current()
	must(t, err)
	defer here.Close()
	if !ns.Same(again) || ns.Inode() != again.Inode() || ns.Same(here) || ns.Inode() == here.Inode() {
		t.Errorf("inodes %d, %d and here %d", ns.Inode(), again.Inode(), here.Inode())
	}
	for range 2 { // mounted twice, as by two daemons at once
		must(t, Remove(path))
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("removed: %v", err)
		}
	}
	if _, err := Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open what is gone: %v", err)
	}
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := Open(path); !errors.Is(err, ErrNotMounted) {
		t.Errorf("open what is left of a mount after a reboot: %v", err)
	}
	must(t, Create(path)) // takes the file over
	third, err := Open(path)
	must(t, err)
	defer third.Close()
	if third.Same(ns) {
		t.Error("the new namespace is the old one")
	}
}

// Whatever runs inside, nobody else ever finds himself there.
func TestDoKeepsThreadsApart(t *testing.T) {
	_, ns := space(t)
	here, err := Current()
	must(t, err)
	defer here.Close()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := ns.Do(func() error {
				links, err := net.Interfaces()
				if err == nil && len(links) != 1 {
					err = fmt.Errorf("a new namespace has interfaces %v", links)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			now, err := Current()
			if err != nil {
				t.Error(err)
				return
			}
			defer now.Close()
			if !now.Same(here) {
				t.Error("a goroutine runs in another namespace")
			}
		})
	}
	wg.Wait()
	want := errors.New("what it says")
	if err := ns.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("the function's error: %v", err)
	}
}

func TestSettings(t *testing.T) {
	_, ns := space(t)
	settings := []Sysctl{
		{Path: "net/ipv4/ip_forward", Value: "1"}, {Path: "net/ipv4/conf/lo/rp_filter", Value: "2"},
		{Path: "net/no/such/setting", Value: "1", Optional: true},
	}
	must(t, ns.Do(func() error {
		if got := Unequal(settings); len(got) != 2 {
			return fmt.Errorf("differ: %v", got)
		}
		if err := Write(settings); err != nil {
			return err
		}
		if got := Unequal(settings); len(got) != 0 {
			return fmt.Errorf("differ after writing: %v", got)
		}
		missing := []Sysctl{{Path: "net/no/such/setting", Value: "1"}}
		if len(Unequal(missing)) != 1 || Write(missing) == nil {
			return errors.New("a setting that is missing and needed is not missed")
		}
		return nil
	}))
}
