//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// TestFiveHosts is the first issue's story: a service on five hosts, reached from everywhere, through two deaths.
func TestFiveHosts(t *testing.T) {
	l := cluster(t, 5, 3)
	first, worker := l.Hosts[0], l.Hosts[4]
	eventually(t, "five ready nodes", 15*time.Second, func() error {
		out := run(t, first, "node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}")
		if n := strings.Count(out, "Ready"); n != 5 {
			return fmt.Errorf("%d nodes are ready:\n%s", n, out)
		}
		if n := strings.Count(out, "Leader") + strings.Count(out, "Reachable"); n != 3 {
			return fmt.Errorf("%d managers answer:\n%s", n, out)
		}
		return nil
	})
	run(t, first, "network", "create", "-d", "overlay", "app")
	run(t, first, "service", "create", "--name", "web", "--replicas", "6", "--network", "app", "-p", "8080:80", "--env", "TASK={{.Task.Name}}", "web:1")

	t.Run("published port of every host, client's address kept", func(t *testing.T) {
		for _, h := range l.Hosts {
			published(t, l, h, h.Addr, l.Client.Addr)
			published(t, l, h, h.Addr6, l.Client.Addr6)
		}
	})
	t.Run("logs of all tasks", func(t *testing.T) { listening(t, first, "web", 6) })
	t.Run("by name from inside a container", func(t *testing.T) {
		byName(t, worker, "http://web/")
		byName(t, worker, "http://tasks.web/")
	})
	t.Run("followed logs have the tasks of an update", func(t *testing.T) { followed(t, first, l.Hosts[1]) })
	t.Run("nothing differs from what is wanted", func(t *testing.T) {
		for _, h := range l.Hosts {
			eventually(t, "network check on "+h.Name, 10*time.Second, func() error {
				if out := run(t, h, "network", "check"); !strings.Contains(out, "no differences") {
					return fmt.Errorf("%s", out)
				}
				return nil
			})
		}
	})
	t.Run("leader and worker die together", func(t *testing.T) { twoDeaths(t, l) })
}

// listening waits until all tasks of a service have said that they listen: one that runs may be about to.
func listening(t *testing.T, h *hosts.Host, service string, tasks int) {
	t.Helper()
	eventually(t, "what all tasks of "+service+" have written", 10*time.Second, func() error {
		out := run(t, h, "service", "logs", service)
		if n := strings.Count(out, "listening on"); n != tasks {
			return fmt.Errorf("%d of %d tasks' logs came:\n%s", n, tasks, out)
		}
		return nil
	})
}

func followed(t *testing.T, first, follower *hosts.Host) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "logs")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := follower.Command(ctx, "service", "logs", "-f", "web")
	cmd.Stdout = out
	if err := follower.Inside(cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // ended by cancel
	defer cancel()
	lines := func(want int) func() error {
		return func() error {
			text, err := os.ReadFile(path)
			if n := strings.Count(string(text), "listening on"); err == nil && n != want {
				err = fmt.Errorf("%d of %d tasks' logs came:\n%s", n, want, text)
			}
			return err
		}
	}
	eventually(t, "the logs of what runs", 10*time.Second, lines(6))
	run(t, first, "service", "update", "--force", "--update-parallelism", "0", "web")
	eventually(t, "the logs of what runs now", 10*time.Second, lines(12))
}

func published(t *testing.T, l *hosts.Lab, h *hosts.Host, to, client netip.Addr) {
	t.Helper()
	url := fmt.Sprintf("http://%s/", netip.AddrPortFrom(to, 8080))
	var out string
	eventually(t, url, 5*time.Second, func() (err error) {
		out, err = l.Client.Get(t.Context(), url, time.Second)
		return err
	})
	if !strings.Contains(out, "client="+client.String()+" ") {
		t.Errorf("%s on %s: got %q, want client=%s", url, h.Name, out, client)
	}
}

func byName(t *testing.T, h *hosts.Host, url string) {
	t.Helper()
	id := strings.Fields(run(t, h, "ps", "-q", "--filter", "label=shoal.service.name=web"))
	if len(id) == 0 {
		t.Fatalf("no container of web on %s", h.Name)
	}
	seen := map[string]bool{}
	for range 30 {
		out := run(t, h, "exec", id[0], "/web", "get", url)
		if !strings.Contains(out, "task=web.") {
			t.Fatalf("%s: got %q", url, out)
		}
		seen[out] = true
	}
	if len(seen) < 2 {
		t.Errorf("%s: 30 requests all went to one task: %v", url, seen)
	}
}

func twoDeaths(t *testing.T, l *hosts.Lab) {
	leader := leaderOf(t, l)
	survivor := l.Hosts[1]
	if survivor == leader {
		survivor = l.Hosts[0]
	}
	start := time.Now()
	for _, h := range []*hosts.Host{l.Hosts[4], leader} {
		if err := h.Die(); err != nil {
			t.Fatal(err)
		}
	}
	id := strings.Fields(run(t, survivor, "ps", "-q", "--filter", "label=shoal.service.name=web"))[0]
	eventually(t, "the virtual IP answers 20 times in a row", 20*time.Second, func() error {
		_, err := survivor.CLI(t.Context(), "exec", id, "/web", "get", "http://web/", "20")
		return err
	})
	t.Logf("dead hosts out of the balancer after %s", time.Since(start))
	eventually(t, "a new service is accepted", 20*time.Second, func() error {
		_, err := survivor.CLI(t.Context(), "service", "create", "-d", "--name", "after", "--replicas", "3", "--network", "app", "web:1")
		return err
	})
	t.Logf("next write accepted after %s", time.Since(start))
	// Before that a new leader counts what ran there when it took over: six replicas would say nothing.
	eventually(t, "both are shown as down", 20*time.Second, func() error {
		out := run(t, survivor, "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
		for _, h := range []*hosts.Host{l.Hosts[4], leader} {
			if !strings.Contains(out, h.Name+" Down") {
				return fmt.Errorf("%s is not shown as down:\n%s", h.Name, out)
			}
		}
		return nil
	})
	eventually(t, "six replicas back", 40*time.Second, replicas(t, survivor, "web", "6/6"))
	t.Logf("six replicas back after %s", time.Since(start))
	eventually(t, "the new service runs", 20*time.Second, replicas(t, survivor, "after", "3/3"))
}

func leaderOf(t *testing.T, l *hosts.Lab) *hosts.Host {
	t.Helper()
	out := run(t, l.Hosts[0], "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
	for _, h := range l.Hosts {
		if strings.Contains(out, h.Name+" Leader") {
			return h
		}
	}
	t.Fatalf("no leader:\n%s", out)
	return nil
}

// TestRemovedNode: a node that is removed while it lives stops what others run in its place, and nothing else.
func TestRemovedNode(t *testing.T) {
	l := cluster(t, 2, 1)
	first, second := l.Hosts[0], l.Hosts[1]
	run(t, first, "service", "create", "--name", "everywhere", "--mode", "global", "-p", "8080:80", "web:1")
	run(t, second, "run", "-d", "--name", "mine", "--network", "none", "web:1")
	run(t, first, "node", "rm", "--force", second.Name)
	eventually(t, "the service's task is stopped", 20*time.Second, func() error {
		if out := strings.TrimSpace(run(t, second, "ps", "--format", "{{.Names}}")); out != "mine" {
			return errors.New(out)
		}
		return nil
	})
	eventually(t, "its published port is closed", 20*time.Second, func() error {
		if out, err := l.Client.Get(t.Context(), fmt.Sprintf("http://%s/", netip.AddrPortFrom(second.Addr, 8080)), time.Second); err == nil {
			return errors.New(out)
		}
		return nil
	})
	if out := run(t, second, "info"); !strings.Contains(out, "the tasks of its services were stopped here") {
		t.Errorf("info does not say why: %s", out)
	}
	run(t, second, "cluster", "leave")
	if out := strings.TrimSpace(run(t, second, "ps", "-a", "--format", "{{.Names}}")); out != "mine" {
		t.Errorf("after it has left there are %s", out)
	}
}

// TestNoWriteIsInDoubt: the leader is killed while somebody writes through another manager. Every write is carried out, once, and
// the user need not know that there was another leader.
func TestNoWriteIsInDoubt(t *testing.T) {
	l := cluster(t, 3, 3)
	first, second := l.Hosts[0], l.Hosts[1]
	var done atomic.Int32
	var killed atomic.Int32 // how many were done when the leader died
	var wg sync.WaitGroup
	for user := range 4 {
		wg.Go(func() {
			for i := 0; killed.Load() == 0 || done.Load() < killed.Load()+20; i++ {
				name := fmt.Sprintf("s%d-%d", user, i)
				_, err := second.CLI(t.Context(), "service", "create", "-d", "--name", name, "--replicas", "0", "web:1")
				if err != nil {
					t.Errorf("create %s: %v", name, err)
					return
				}
				if _, err := second.CLI(t.Context(), "service", "rm", name); err != nil {
					t.Errorf("remove %s: %v", name, err)
					return
				}
				done.Add(1)
			}
		})
	}
	eventually(t, "some writes", 20*time.Second, func() error {
		if done.Load() < 10 {
			return fmt.Errorf("%d", done.Load())
		}
		return nil
	})
	if err := first.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed.Store(max(1, done.Load()))
	wg.Wait()
	if out := strings.TrimSpace(run(t, second, "service", "ls", "-q")); out != "" {
		t.Errorf("services that were created twice, or removed never: %s", out)
	}
}
