//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// TestNothingIsLeft compares each host before it was in a cluster and after it left: services, networks, published
// ports and a killed daemon lie between.
func TestNothingIsLeft(t *testing.T) {
	l := lab(t, 3)
	before := map[*hosts.Host][]string{}
	for _, h := range l.Hosts {
		before[h] = traces(t, h)
	}
	if err := l.Join(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := l.WebImage(t.Context(), web(t), "web:1"); err != nil {
		t.Fatal(err)
	}
	first := l.Hosts[0]
	inCluster := map[*hosts.Host][]string{}
	for _, h := range l.Hosts {
		inCluster[h] = settled(t, h)
	}
	for _, n := range []string{"app", "back"} {
		run(t, first, "network", "create", "-d", "overlay", n)
	}
	run(t, first, "service", "create", "--name", "web", "--replicas", "6", "--network", "app", "--network", "back", "-p", "8080:80",
		"--mount", "type=tmpfs,target=/tmp", "web:1")
	run(t, first, "service", "create", "--name", "all", "--mode", "global", "web:1")
	run(t, first, "service", "rm", "web", "all")
	run(t, first, "network", "rm", "app", "back")
	for _, h := range l.Hosts {
		same(t, "after service rm and network rm on "+h.Name, inCluster[h], func() []string { return traces(t, h) })
	}
	for i := len(l.Hosts) - 1; i >= 0; i-- {
		run(t, l.Hosts[i], "cluster", "leave", "--force")
		same(t, "after cluster leave on "+l.Hosts[i].Name, before[l.Hosts[i]], func() []string { return traces(t, l.Hosts[i]) })
	}
}

func traces(t *testing.T, h *hosts.Host) []string {
	t.Helper()
	lines, err := h.Traces()
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// settled waits until two looks in a row see the same.
func settled(t *testing.T, h *hosts.Host) []string {
	t.Helper()
	last := traces(t, h)
	eventually(t, h.Name+" settles", 20*time.Second, func() error {
		for range 5 {
			now := traces(t, h)
			if diff := cmp.Diff(last, now); diff != "" {
				last = now
				return fmt.Errorf("still changing: %s", diff)
			}
		}
		return nil
	})
	return last
}

func same(t *testing.T, when string, want []string, look func() []string) {
	t.Helper()
	eventually(t, when, 20*time.Second, func() error {
		if diff := cmp.Diff(want, look()); diff != "" {
			return fmt.Errorf("differs (-before +after):\n%s", diff)
		}
		return nil
	})
}
