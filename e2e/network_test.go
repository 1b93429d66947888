//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// TestNetworkThroughChanges reaches services while what is behind them changes.
func TestNetworkThroughChanges(t *testing.T) {
	l := cluster(t, 3, 1)
	first, second := l.Hosts[0], l.Hosts[1]
	run(t, first, "network", "create", "-d", "overlay", "app")
	run(t, first, "service", "create", "--name", "web", "--replicas", "4", "--network", "name=app,alias=www", "-p", "8080:80", "--env", "TASK={{.Task.Name}}", "web:1")
	run(t, first, "service", "create", "--name", "away", "--replicas", "2", "--constraint", "node.hostname!="+first.Name, "-p", "8081:80", "--env", "TASK={{.Node.Hostname}}", "web:1")
	listening(t, first, "web", 4)
	listening(t, first, "away", 2)
	for _, h := range l.Hosts {
		published(t, l, h, h.Addr, l.Client.Addr)
	}
	t.Run("an alias is the virtual address alone", func(t *testing.T) {
		id := strings.Fields(run(t, first, "ps", "-q", "--filter", "label=shoal.service.name=web"))[0]
		run(t, first, "exec", id, "/web", "get", "http://www/", "20")
	})
	t.Run("what a removed service was reached at is not the next one's", func(t *testing.T) {
		vip := func(name string) string {
			run(t, first, "service", "create", "-d", "--name", name, "--replicas", "0", "--network", "app", "web:1")
			defer run(t, first, "service", "rm", name)
			var out string
			eventually(t, "it has an address", 10*time.Second, func() error {
				out = strings.TrimSpace(run(t, first, "service", "inspect", "-f", "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}", name))
				if out == "" {
					return errors.New("none")
				}
				return nil
			})
			return out
		}
		if one, two := vip("one"), vip("two"); one == two {
			t.Errorf("both have %s", one)
		}
	})
	t.Run("from one node to the other, by any address", func(t *testing.T) {
		for _, to := range []netip.Addr{first.Addr, first.Addr6, l.Hosts[2].Addr6} {
			if out, err := second.Get(t.Context(), fmt.Sprintf("http://%s/", netip.AddrPortFrom(to, 8081)), 30*time.Second); err != nil {
				t.Errorf("%s: %q, %v", to, out, err)
			}
		}
	})
	t.Run("a connection outlives a restart of the daemon", func(t *testing.T) { outlives(t, l, first) })
	t.Run("an update to another port drops nothing", func(t *testing.T) {
		stop := load(t, l)
		run(t, first, "service", "update", "--env-add", "PORT=81", "--publish-rm", "80", "--publish-add", "8080:81", "--update-order", "start-first", "web")
		asked, failed := stop()
		noneDropped(t, asked, failed)
	})
}

// TestUpdateToAnotherNetwork: who asks for a service by name notices nothing, and who knows its address reaches it for as long as
// tasks are there.
func TestUpdateToAnotherNetwork(t *testing.T) {
	l := cluster(t, 2, 1)
	first := l.Hosts[0]
	run(t, first, "network", "create", "-d", "overlay", "old")
	run(t, first, "network", "create", "-d", "overlay", "new")
	run(t, first, "service", "create", "--name", "client", "--network", "old", "--network", "new", "--constraint", "node.hostname=="+first.Name, "web:1")
	run(t, first, "service", "create", "--name", "moves", "--replicas", "2", "--network", "old", "--update-delay", "2s", "web:1")
	listening(t, first, "moves", 2)
	client := strings.Fields(run(t, first, "ps", "-q", "--filter", "label=shoal.service.name=client"))[0]
	vip := strings.Split(strings.Fields(run(t, first, "service", "inspect", "-f", "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}", "moves"))[0], "/")[0]

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	asked, failed := 0, []error(nil)
	wg.Go(func() {
		for ; ctx.Err() == nil; asked++ {
			if _, err := first.CLI(context.WithoutCancel(ctx), "exec", client, "/web", "get", "http://moves/"); err != nil {
				failed = append(failed, err)
			}
		}
	})
	run(t, first, "service", "update", "-d", "--network-rm", "old", "--network-add", "new", "moves")
	run(t, first, "exec", client, "/web", "get", "http://"+vip+"/", "20") // one task has two seconds left at least
	eventually(t, "it is on the new network alone", 30*time.Second, func() error {
		if out := run(t, first, "service", "inspect", "-f", "{{.UpdateStatus.State}} {{len .Endpoint.VirtualIPs}}", "moves"); strings.TrimSpace(out) != "completed 2" { // one of each family
			return errors.New(out)
		}
		return nil
	})
	cancel()
	wg.Wait()
	noneDropped(t, asked, failed)
	run(t, first, "service", "rm", "client")
	eventually(t, "nothing holds the old network", 20*time.Second, func() error {
		_, err := first.CLI(t.Context(), "network", "rm", "old")
		return err
	})
}

// TestDrain: a node is emptied at once, and no request is refused meanwhile.
func TestDrain(t *testing.T) {
	l := cluster(t, 3, 1)
	first, second := l.Hosts[0], l.Hosts[1]
	run(t, first, "service", "create", "--name", "web", "--replicas", "18", "-p", "8080:80", "web:1")
	stop := load(t, l)
	run(t, first, "node", "update", "--availability", "drain", second.Name)
	took := eventually(t, "the node is empty", 20*time.Second, func() error {
		if out := strings.TrimSpace(run(t, second, "ps", "-q")); out != "" {
			return fmt.Errorf("it has %d containers", len(strings.Fields(out)))
		}
		return replicas(t, first, "web", "18/18")()
	})
	asked, failed := stop()
	noneDropped(t, asked, failed)
	t.Logf("six tasks left in %v", took)
}

// outlives keeps one connection, by way of one host to a task on another whose daemon dies and comes back. There is a third one
// that new connections can go to.
func outlives(t *testing.T, l *hosts.Lab, by *hosts.Host) {
	c, err := l.Client.Dial(t.Context(), "tcp", netip.AddrPortFrom(by.Addr, 8081).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, err := again(c)
	i := slices.IndexFunc(l.Hosts, func(h *hosts.Host) bool { return strings.Contains(answer, "task="+h.Name+" ") })
	if err != nil || i < 0 {
		t.Fatal(answer, err)
	}
	of := l.Hosts[i]
	if err := of.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its death is known", 10*time.Second, func() error {
		if out := run(t, by, "node", "ls", "--format", "{{.Hostname}} {{.Status}}"); !strings.Contains(out, of.Name+" Down") {
			return errors.New(out)
		}
		return nil
	})
	if _, err := again(c); err != nil {
		t.Errorf("while the daemon is dead: %v", err)
	}
	if err := of.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := again(c); err != nil {
		t.Errorf("after its return: %v", err)
	}
}

// again asks on a connection that stays.
func again(c net.Conn) (string, error) {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: away\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return string(answer), err
}

// load asks both hosts from outside, on new connections, until stop is called, which says how often and what failed.
func load(t *testing.T, l *hosts.Lab) (stop func() (int, []error)) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked, failed := 0, []error(nil)
	for _, h := range l.Hosts {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := l.Client.Get(context.WithoutCancel(ctx), fmt.Sprintf("http://%s/", netip.AddrPortFrom(h.Addr, 8080)), 10*time.Second)
				mu.Lock()
				asked++
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []error) {
		cancel()
		wg.Wait()
		return asked, failed
	}
}

// noneDropped: no request has failed. A task that stops goes on for half a second, in which every node has to hear of it: where
// many programs wait for each processor that says nothing about Shoal.
func noneDropped(t *testing.T, asked int, failed []error) {
	t.Helper()
	if len(failed) == 0 && asked >= 20 {
		return
	}
	what := fmt.Sprintf("%d of %d requests failed, the first: %v", len(failed), asked, failed[:min(1, len(failed))])
	text, _ := os.ReadFile("/proc/loadavg")
	var load float64
	if fmt.Sscan(string(text), &load); load > float64(4*runtime.NumCPU()) {
		t.Logf("NOT TESTED: the load of this machine is %.0f: %s", load, what)
		return
	}
	t.Error(what)
}
