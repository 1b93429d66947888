//go:build linux

// Package volumetest checks that a volume.Driver keeps its contract.
//
// Run is all of it. Store's own promises, such as counting users, are tested in package volume.
package volumetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-dev/shoal/engine/volume"
)

// Harness is a driver under test.
type Harness struct {
	// Open gives the driver; a second call is a restart of the daemon: the same volumes, nothing remembered in memory.
	Open func(t *testing.T) volume.Driver
	// Options are good ones, and Bad ones that the driver must refuse.
	Options, Bad map[string]string
	Scope        string
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"life": life, "again": again, "restart": restart, "refuses": refuses, "unknown": unknown, "concurrent": concurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
}

func (h Harness) volume(name string) volume.Volume {
	return volume.Volume{Name: name, Options: h.Options, MountID: "id-of-" + name}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mount mounts, and unmounts at the test's end.
func mount(t *testing.T, d volume.Driver, v volume.Volume) string {
	t.Helper()
	path, err := d.Mount(t.Context(), v)
	must(t, err)
	if st, err := os.Stat(path); !filepath.IsAbs(path) || err != nil || !st.IsDir() {
		t.Fatalf("mounted at %q, %v: not an absolute path of a directory", path, err)
	}
	return path
}

// life: what is written in one mount is there in the next, and gone after removal.
func life(t *testing.T, h Harness) {
	d, v := h.Open(t), h.volume("life")
	must(t, d.Create(t.Context(), v))
	if scope, err := d.Scope(t.Context()); err != nil || scope != h.Scope {
		t.Errorf("scope %q, %v, want %q", scope, err, h.Scope)
	}
	path := mount(t, d, v)
	if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
		t.Errorf("a new volume holds %v, %v", entries, err)
	}
	must(t, os.WriteFile(path+"/file", []byte("kept"), 0o640))
	if there, err := d.Mounted(t.Context(), v); err != nil || !there {
		t.Errorf("mounted: %v, %v", there, err)
	}
	if said, err := d.Path(t.Context(), v); err != nil || said != "" && said != path {
		t.Errorf("path says %q, %v, the mount is at %q", said, err, path)
	}
	must(t, d.Unmount(t.Context(), v))
	path = mount(t, d, v)
	if got, err := os.ReadFile(path + "/file"); err != nil || string(got) != "kept" {
		t.Errorf("mounted again it holds %q, %v", got, err)
	}
	must(t, d.Unmount(t.Context(), v))
	must(t, d.Remove(t.Context(), v))
	must(t, d.Create(t.Context(), v))
	path = mount(t, d, v)
	if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
		t.Errorf("made anew it holds %v, %v", entries, err)
	}
	must(t, d.Unmount(t.Context(), v))
	must(t, d.Remove(t.Context(), v))
}

// again: every call may be repeated.
func again(t *testing.T, h Harness) {
	d, v := h.Open(t), h.volume("again")
	for range 2 {
		must(t, d.Create(t.Context(), v))
	}
	path := mount(t, d, v)
	must(t, os.WriteFile(path+"/file", nil, 0o600))
	must(t, d.Create(t.Context(), v))
	if got := mount(t, d, v); got != path {
		t.Errorf("mounted again at %s, was at %s", got, path)
	}
	if _, err := os.Stat(path + "/file"); err != nil {
		t.Errorf("a second Create and Mount: %v", err)
	}
	for range 2 {
		must(t, d.Unmount(t.Context(), v))
	}
	for range 2 {
		must(t, d.Remove(t.Context(), v))
	}
}

// restart: another instance goes on where the first was.
func restart(t *testing.T, h Harness) {
	v := h.volume("restart")
	d := h.Open(t)
	must(t, d.Create(t.Context(), v))
	path := mount(t, d, v)
	must(t, os.WriteFile(path+"/file", nil, 0o600))
	d = h.Open(t)
	if there, err := d.Mounted(t.Context(), v); err != nil || !there {
		t.Errorf("mounted after a restart: %v, %v", there, err)
	}
	must(t, d.Unmount(t.Context(), v))
	d = h.Open(t)
	if _, err := os.Stat(mount(t, d, v) + "/file"); err != nil {
		t.Error(err)
	}
	must(t, d.Unmount(t.Context(), v))
	must(t, h.Open(t).Remove(t.Context(), v))
}

func refuses(t *testing.T, h Harness) {
	d, v := h.Open(t), volume.Volume{Name: "refused", Options: h.Bad, MountID: "id"}
	if err := d.Create(t.Context(), v); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("options %v: %v, want an error of one line", h.Bad, err)
	}
	if _, err := d.Mount(t.Context(), v); err == nil {
		t.Error("a volume that was refused can be mounted")
	}
	must(t, d.Remove(t.Context(), v))
}

func unknown(t *testing.T, h Harness) {
	d, v := h.Open(t), h.volume("unknown")
	if path, err := d.Mount(t.Context(), v); err == nil {
		t.Errorf("what was never made is mounted at %s", path)
	}
	must(t, d.Remove(t.Context(), v))
}

func concurrent(t *testing.T, h Harness) {
	d := h.Open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := h.volume(fmt.Sprintf("concurrent%d", i))
			for range 5 {
				err := d.Create(t.Context(), v)
				var path string
				if err == nil {
					path, err = d.Mount(t.Context(), v)
				}
				if err == nil {
					err = os.WriteFile(path+"/"+v.Name, nil, 0o600)
				}
				entries, _ := os.ReadDir(path)
				if err = errors.Join(err, d.Unmount(t.Context(), v), d.Remove(t.Context(), v)); err != nil || len(entries) != 1 {
					t.Errorf("%s: %v, holds %v", v.Name, err, entries)
				}
			}
		})
	}
	wg.Wait()
}
