//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/e2e/hosts/hoststest"
)

// TestRollingUpgrade replaces the daemons of a cluster of three managers one after another: its service goes on, and whoever leads, and
// whoever is asked, does what users ask for. Then one goes back.
func TestRollingUpgrade(t *testing.T) {
	fromEach(t, func(t *testing.T, older, present string, andBack bool) {
		l := hoststest.Lab(t, older, 3)
		if err := l.Join(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if err := l.WebImage(t.Context(), web(t), "web:1"); err != nil {
			t.Fatal(err)
		}
		first := l.Hosts[0]
		run(t, first, "network", "create", "-d", "overlay", "mesh")
		run(t, first, "service", "create", "--name", "web", "--replicas", "3", "--network", "mesh", "-p", "8080:80", "web:1")
		r := rolling{t, l, run(t, first, "service", "ps", "-q", "--filter", "desired-state=running", "web")}
		for i, h := range l.Hosts {
			replace(t, h, present, syscall.SIGTERM, nil)
			r.check()
			r.order(i)
		}
		if andBack {
			replace(t, first, older, syscall.SIGKILL, nil)
			r.check()
			r.order(0)
		}
	})
}

type rolling struct {
	t     *testing.T
	l     *hosts.Lab
	tasks string
}

// check: the tasks that were, from wherever one looks.
func (r rolling) check() {
	r.t.Helper()
	for _, h := range r.l.Hosts {
		eventually(r.t, "replicas, asked at "+h.Name, 30*time.Second, replicas(r.t, h, "web", "3/3"))
		eventually(r.t, "all nodes ready, asked at "+h.Name, 30*time.Second, func() error {
			out, err := h.CLI(r.t.Context(), "node", "ls", "--format", "{{.Status}}")
			if n := strings.Count(out, "Ready"); err == nil && n != 3 {
				err = fmt.Errorf("%d are", n)
			}
			return err
		})
		if now := run(r.t, h, "service", "ps", "-q", "--filter", "desired-state=running", "web"); now != r.tasks {
			r.t.Errorf("tasks were replaced: %s, before %s", now, r.tasks)
		}
		get(r.t, r.l, h)
	}
}

// order makes a service at the host that has just been replaced, changes it at the next and removes it at the third.
func (r rolling) order(i int) {
	r.t.Helper()
	h, next, third := r.l.Hosts[i], r.l.Hosts[(i+1)%3], r.l.Hosts[(i+2)%3]
	run(r.t, h, "service", "create", "--name", "more", "--mode", "global", "--network", "mesh", "--env", "A=1", "web:1")
	eventually(r.t, "a global service", 30*time.Second, replicas(r.t, next, "more", "3/3"))
	run(r.t, next, "service", "update", "--env-add", "A=2", "more")
	run(r.t, third, "service", "rm", "more")
}
