//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// TestContainersOutliveTheDaemon kills every daemon, some of them repeatedly, under a running service.
func TestContainersOutliveTheDaemon(t *testing.T) {
	l := cluster(t, 3, 1)
	first, worker := l.Hosts[0], l.Hosts[2]
	run(t, first, "network", "create", "-d", "overlay", "app")
	run(t, first, "service", "create", "--name", "web", "--replicas", "3", "--network", "app", "-p", "8080:80", "web:1")
	ids := run(t, first, "service", "ps", "-q", "--filter", "desired-state=running", "web")
	pids := fmt.Sprint(containerPids(t, worker))
	for range 3 {
		if err := worker.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		get(t, l, first)
		if err := worker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(containerPids(t, worker)); got != pids {
		t.Errorf("processes in containers changed from %s to %s", pids, got)
	}
	if err := first.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	get(t, l, worker) // the data path needs no daemon, and no manager
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three replicas", 20*time.Second, replicas(t, first, "web", "3/3"))
	eventually(t, "all nodes ready", 20*time.Second, func() error {
		out := run(t, first, "node", "ls", "--format", "{{.Status}}")
		if strings.Count(out, "Ready") != 3 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if now := run(t, first, "service", "ps", "-q", "--filter", "desired-state=running", "web"); now != ids {
		t.Errorf("tasks were replaced: %s, before %s", now, ids)
	}
}

func containerPids(t *testing.T, h *hosts.Host) []string {
	t.Helper()
	ids := strings.Fields(run(t, h, "ps", "-q", "--no-trunc"))
	var pids []string
	for _, id := range ids {
		pids = append(pids, strings.TrimSpace(run(t, h, "inspect", "--format", "{{.State.Pid}}", id)))
	}
	return pids
}

func get(t *testing.T, l *hosts.Lab, h *hosts.Host) {
	t.Helper()
	eventually(t, "published port on "+h.Name, 5*time.Second, func() error {
		_, err := l.Client.Get(t.Context(), fmt.Sprintf("http://%s:8080/", h.Addr), time.Second)
		return err
	})
}

// TestErrorsSayWhatToDo: each is one line, and nothing is half made.
func TestErrorsSayWhatToDo(t *testing.T) {
	l := lab(t, 2)
	first, second := l.Hosts[0], l.Hosts[1]
	fails(t, first, "not in a cluster: run 'shoal cluster init' or 'shoal cluster join'", "service", "ls")
	fails(t, first, "unknown flag: --nope", "service", "ls", "--nope")
	fails(t, first, "no such image: nope", "run", "--pull", "never", "nope")
	if err := l.Join(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := l.WebImage(t.Context(), web(t), "web:1"); err != nil {
		t.Fatal(err)
	}
	fails(t, second, "already in a cluster", "cluster", "init")
	fails(t, second, "this node is a worker", "service", "ls")
	fails(t, first, "no such network: nope", "service", "create", "--network", "nope", "web:1")
	fails(t, first, "invalid", "service", "create", "--replicas", "many", "web:1")
	run(t, first, "service", "create", "--name", "a", "-p", "8080:80", "web:1")
	fails(t, first, "service a exists already", "service", "create", "--name", "a", "web:1")
	fails(t, first, "port 8080/tcp is already published by service a", "service", "create", "--name", "b", "-p", "8080:80", "web:1")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--log-opt max-size=x: invalid size: 'x'", []string{"--log-opt", "max-size=x"}},
		{"sysctl vm.swappiness is not separate for each container", []string{"--sysctl", "vm.swappiness=1"}},
		{"health check: 1µs is too short", []string{"--health-cmd", "true", "--health-interval", "1us"}},
	} {
		fails(t, first, "shoal: "+c.want, append(append([]string{"run"}, c.args...), "web:1")...)
		fails(t, first, "service b: "+c.want, append(append([]string{"service", "create", "--name", "b"}, c.args...), "web:1")...)
	}
	fails(t, first, "service a: log driver none has no option", "service", "update", "--log-driver", "none", "--log-opt", "max-size=1m", "a")
	run(t, first, "service", "create", "-d", "--name", "big", "--reserve-memory", "1000g", "web:1")
	eventually(t, "the reason is shown", 10*time.Second, func() error {
		out := run(t, first, "service", "ps", "--no-trunc", "big")
		if !strings.Contains(out, "no suitable node") || !strings.Contains(out, "memory") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	token := strings.TrimSpace(run(t, first, "cluster", "token", "worker", "-q"))
	run(t, first, "cluster", "token", "worker", "--rotate", "-q")
	run(t, second, "cluster", "leave")
	fails(t, second, "token", "cluster", "join", "--token", token, first.Addr.String()+":2377")
	if out := run(t, second, "info", "--format", "{{.Cluster.State}}"); strings.TrimSpace(out) != "inactive" {
		t.Errorf("after a refused join the node is %s, want inactive", out)
	}
}
