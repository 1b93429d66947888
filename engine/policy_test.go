//go:build linux

package engine

import (
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

func withPolicy(l *lab, script string) string {
	r := request("", script)
	r.Restart = &api.LocalRestartPolicy{Name: "always"}
	return l.run(r)
}

// Wait tells of the end that it waited for, though a policy starts the container again: who waits wants to know.
func TestWaitDoesNotWaitForThePolicy(t *testing.T) {
	l := openLab(t)
	id := withPolicy(l, "sleep 0.3; exit 3")
	if row := l.ended(id); row.ExitCode != 3 { // the policy never lets it end for good
		t.Errorf("exit code %d", row.ExitCode)
	}
	l.until(id, "started again", func(r *api.Container) bool { return r.RestartCount > 0 })
}

// The signal by which a container is stopped stops it for its policy, whoever sends it; others are its own affair.
func TestKillThatStops(t *testing.T) {
	l := openLab(t)
	const script = "trap 'exit 0' TERM USR1; echo ready; while :; do sleep 0.05; done"
	stopped, restarted := withPolicy(l, script), withPolicy(l, script)
	for id, signal := range map[string]string{stopped: "TERM", restarted: "USR1"} {
		// A first process without a handler never sees the signal.
		enginetest.Until(t, "the trap is set", func() bool { return l.logs(id) == "ready\n" })
		if err := l.Kill(l.ctx(), id, signal); err != nil {
			t.Fatal(err)
		}
	}
	l.until(restarted, "started again", func(r *api.Container) bool { return r.RestartCount > 0 })
	l.until(stopped, "stopped", func(r *api.Container) bool { return r.State == api.ContainerState_EXITED && r.RestartCount == 0 })
}
