//go:build linux

package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// reboot is a restart of the machine.
func (l *lab) reboot() {
	l.t.Helper()
	l.powerOff()
	l.open()
}

// powerOff leaves no process, no mount, no cgroup and nothing of the run directory.
func (l *lab) powerOff() {
	l.t.Helper()
	l.close()
	groups := l.cgroups()
	for _, g := range groups { // frozen processes do not die
		os.WriteFile(g+"/freezer.state", []byte("THAWED"), 0)
		os.WriteFile(g+"/cgroup.freeze", []byte("0"), 0)
	}
	for _, line := range enginetest.Processes(l.dir) {
		pid, _, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() {
			syscall.Kill(n, syscall.SIGKILL)
		}
	}
	enginetest.Until(l.t, "all processes are gone", func() bool { return len(enginetest.Processes(l.dir)) == 0 })
	run := filepath.Join(l.dir, "run")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	var targets []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], run) {
			targets = append(targets, f[4])
		}
	}
	slices.Reverse(targets)
	for _, m := range targets {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil {
			l.t.Fatal(m, err)
		}
	}
	if err := os.RemoveAll(run); err != nil {
		l.t.Fatal(err)
	}
	for _, g := range groups {
		enginetest.Until(l.t, g+" is empty", func() bool { return os.Remove(g) == nil || errors.Is(os.Remove(g), os.ErrNotExist) })
	}
}

func TestReboot(t *testing.T) {
	l := openLab(t)
	start := func(name, policy, script string) string {
		r := request(name, script)
		r.Restart = &api.LocalRestartPolicy{Name: policy}
		return l.run(r)
	}
	for _, policy := range []string{"no", "on-failure", "always", "unless-stopped"} {
		l.says(start(policy+".up", policy, "echo run; sleep 1000"), "run\n")
		start(policy+".stopped", policy, "echo run; sleep 1000")
		now := time.Duration(0)
		if err := l.Stop(l.ctx(), policy+".stopped", &now, ""); err != nil {
			t.Fatal(err)
		}
	}
	l.ended(start("on-failure.done", "on-failure", "exit 0"))
	start("paused", "always", "sleep 1000")
	if err := l.Pause(l.ctx(), "paused"); err != nil {
		t.Fatal(err)
	}
	removed := request("removed", "sleep 1000")
	removed.AutoRemove = true
	removed.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Target: "/data"}}
	l.run(removed)
	never := request("never", "sleep 1000")
	never.Restart = &api.LocalRestartPolicy{Name: "always"}
	l.create(never)

	l.reboot()

	for name, running := range map[string]bool{
		"no.up": false, "no.stopped": false, "on-failure.up": true, "on-failure.stopped": false, "on-failure.done": false,
		"always.up": true, "always.stopped": true, "unless-stopped.up": true, "unless-stopped.stopped": false, "paused": true, "never": false,
	} {
		if running {
			l.until(name, "running again", func(r *api.Container) bool { return r.State == api.ContainerState_CONTAINER_RUNNING })
			l.exec(name, "true")
		} else if row := l.row(name); active(row.State) || row.State == api.ContainerState_RESTARTING {
			t.Errorf("%s is %s", name, stateName(row.State))
		}
	}
	if row := l.row("no.up"); row.ExitCode != 255 || row.Error == "" {
		t.Errorf("one that ran and is not started again: exit code %d, %q", row.ExitCode, row.Error)
	}
	enginetest.Until(t, "both runs are in its log", func() bool { return l.logs("always.up") == "run\nrun\n" })
	if _, err := l.Inspect(l.ctx(), "removed"); !errors.Is(err, ErrNotFound) {
		t.Errorf("--rm after a reboot: %v", err)
	}
}
