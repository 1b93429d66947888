//go:build linux

package e2e

import (
	"fmt"
	"syscall"
	"testing"
)

// TestDaemonRestartsUnderHealthChecks ends the daemon in good order, again and again: at each end some checks have just ended, too. What
// a daemon does last must be about these and not about their containers.
func TestDaemonRestartsUnderHealthChecks(t *testing.T) {
	l := lab(t, 1)
	h := l.Hosts[0]
	importBusybox(t, h)
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprint("checked", i))
		run(t, h, "run", "-d", "--name", names[i], "--health-cmd", "true", "--health-interval", "20ms", "box:1", "sleep", "100000")
	}
	pids := func() string {
		t.Helper()
		return run(t, h, append([]string{"inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.Pid}}"}, names...)...)
	}
	before := pids()
	for range 15 {
		if err := h.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if now := pids(); now != before {
		t.Errorf("before:\n%snow:\n%s", before, now)
	}
	run(t, h, append([]string{"rm", "-f"}, names...)...)
}
