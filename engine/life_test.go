//go:build linux

package engine

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestRun(t *testing.T) {
	l := openLab(t)
	r := request("one", "echo $GREETING from $(hostname); echo bad >&2; exit 3")
	r.Spec.Env, r.Spec.Hostname = []string{"GREETING=hello"}, "named"
	row := l.ended(l.run(r))
	if row.ExitCode != 3 || row.State != api.ContainerState_EXITED || row.Pid != 0 || row.StartedAt == nil || row.FinishedAt == nil {
		t.Errorf("row %v", row)
	}
	if got := l.logs("one"); got != "hello from named\nbad\n" {
		t.Errorf("log %q", got)
	}
	if err := l.Start(l.ctx(), row.Id[:8]); err != nil { // it can be run again, and is found by part of its ID
		t.Fatal(err)
	}
	l.ended("one")
	if got := l.logs("one"); strings.Count(got, "hello") != 2 {
		t.Errorf("log after the second run %q", got)
	}
}

func TestRefusals(t *testing.T) {
	l := openLab(t)
	l.create(request("taken", "true"))
	bad := func(change func(*api.CreateContainerRequest)) *api.CreateContainerRequest {
		r := request("", "true")
		change(r)
		return r
	}
	for _, c := range []struct {
		want string
		kind error
		r    *api.CreateContainerRequest
	}{
		{`the container name "taken" is in use`, ErrExists, request("taken", "true")},
		{`container name "-x"`, ErrInvalid, request("-x", "true")},
		{"no such image: nope", ErrNotFound, bad(func(r *api.CreateContainerRequest) { r.Spec.Image = "nope" })},
		{"unknown capability", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.CapAdd = []string{"NOPE"} })},
		{"restart policy", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Restart = &api.LocalRestartPolicy{Name: "sometimes"} })},
		{"unknown signal", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.StopSignal = "NOPE" })},
		{"--pid", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.PidMode = "nope" })},
		{"--memory 1 is", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Limits = &api.ContainerLimits{MemoryBytes: 1} })},
		{"this host has no 8000", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Limits = &api.ContainerLimits{CpusetCpus: "8000"} })},
		{"times begin at 1ms", ErrInvalid, bad(func(r *api.CreateContainerRequest) {
			r.Spec.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "true"}, Interval: durationpb.New(time.Microsecond)}
		})},
		{"hardware address", network.ErrInvalid, bad(func(r *api.CreateContainerRequest) {
			r.NetworkMode, r.Networks = "", []*api.LocalNetworkAttachment{{Network: "bridge", Mac: "nope"}}
		})},
		{"log driver", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Log = &api.LogConfig{Driver: "syslog"} })},
		{"unknown ulimit", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Ulimits = []*api.Ulimit{{Name: "nope"}} })},
		{`runtime "nope" is not installed`, ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Runtime = "nope" })},
		{"not the name of a program", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Runtime = "/bin/sh" })},
		{"not separate for each container", ErrInvalid, bad(func(r *api.CreateContainerRequest) { r.Spec.Sysctls = map[string]string{"kernel.panic": "1"} })},
	} {
		if _, err := l.Create(l.ctx(), CreateOptions{Request: c.r}); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if all, _ := l.List(l.ctx(), &api.ListContainersRequest{All: true}); len(all) != 1 {
		t.Errorf("%d containers are there, want the first one alone", len(all))
	}
	for _, c := range []struct {
		script string
		code   int
	}{{"nope", 127}, {"", 127}, {"/etc/passwd", 126}} {
		r := request("", "")
		r.Spec.Args = []string{c.script}
		id := l.create(r)
		var start *StartError
		if err := l.Start(l.ctx(), id); !errors.As(err, &start) || start.ExitCode != c.code {
			t.Errorf("%s: %v, want exit code %d", c.script, err, c.code)
		}
		if row := l.row(id); row.ExitCode != int32(c.code) || row.Error == "" {
			t.Errorf("%s: row %v", c.script, row)
		}
	}
	id := l.run(request("", "sleep 1000"))
	for _, c := range []struct {
		open *api.ExecOpen
		code int
	}{
		{&api.ExecOpen{Command: []string{"nope"}}, 127},
		{&api.ExecOpen{Command: []string{""}}, 127},
		{&api.ExecOpen{Command: []string{"/etc/passwd"}}, 126},
		{&api.ExecOpen{Command: []string{"true"}, Workdir: "nope"}, 126},
		{&api.ExecOpen{Command: []string{"true"}, User: "nobody"}, 126},
	} {
		c.open.Ref = id
		var start *StartError
		if _, err := l.Exec(l.ctx(), c.open); !errors.As(err, &start) || start.ExitCode != c.code {
			t.Errorf("exec %v: %v, want exit code %d", c.open, err, c.code)
		}
	}
}

func TestOtherRuntime(t *testing.T) {
	l := openLab(t)
	r := request("other", "echo hello; sleep 1000")
	r.NetworkMode, r.Spec.Runtime = NetworkBridge, "runc"
	id := l.run(r)
	enginetest.Until(t, "it has spoken", func() bool { return l.logs(id) == "hello\n" })
	if got := l.exec(id, "ip -o -4 addr show eth0 | wc -l; ls /proc/self/ns"); !strings.HasPrefix(got, "1\n") {
		t.Errorf("exec sees %q", got)
	}
	l.reopen()
	grace := time.Duration(0)
	if err := l.Stop(l.ctx(), id, &grace, ""); err != nil {
		t.Fatal(err)
	}
	if row := l.row(id); row.ExitCode != 137 || row.Runtime != "runc" {
		t.Errorf("row %v", row)
	}
}

func TestStop(t *testing.T) {
	l := openLab(t)
	polite := l.run(request("", "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.01; done"))
	enginetest.Until(t, "the trap is set", func() bool { return l.logs(polite) == "ready\n" })
	if err := l.Stop(l.ctx(), polite, nil, ""); err != nil {
		t.Fatal(err)
	}
	if row := l.row(polite); row.ExitCode != 0 || l.logs(polite) != "ready\nbye\n" {
		t.Errorf("row %v, log %q", row, l.logs(polite))
	}
	deaf := l.run(request("", "trap '' TERM; sleep 1000"))
	grace := 50 * time.Millisecond
	if err := l.Stop(l.ctx(), deaf, &grace, ""); err != nil {
		t.Fatal(err)
	}
	if row := l.row(deaf); row.ExitCode != 137 || row.State != api.ContainerState_EXITED {
		t.Errorf("row %v", row)
	}
	if err := l.Stop(l.ctx(), deaf, nil, ""); err != nil {
		t.Errorf("stopping a stopped one: %v", err)
	}
	killed := l.run(request("", "sleep 1000"))
	if err := l.Kill(l.ctx(), killed, ""); err != nil || l.row(killed).State != api.ContainerState_EXITED {
		t.Errorf("after SIGKILL: %v, %v", err, l.row(killed).State)
	}
	if err := l.Kill(l.ctx(), deaf, ""); !errors.Is(err, ErrPrecondition) {
		t.Errorf("killing a stopped one: %v", err)
	}
}

// TestRemoveByForce wins against somebody who starts the container all the time.
func TestRemoveByForce(t *testing.T) {
	l := openLab(t)
	for range 5 {
		id := l.run(request("", "sleep 1000"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !errors.Is(l.Start(l.ctx(), id), ErrNotFound) {
			}
		}()
		if err := l.Remove(l.ctx(), id, true, false); err != nil {
			t.Error(err)
		}
		<-done
	}
}

func TestRestartPolicies(t *testing.T) {
	l := openLab(t)
	policy := func(name string, max int32, script string) string {
		r := request("", script)
		r.Restart = &api.LocalRestartPolicy{Name: name, MaxRetries: max}
		return l.run(r)
	}
	failing := policy("on-failure", 2, "exit 1")
	always := policy("always", 0, "sleep 0.05")
	stopped := policy("unless-stopped", 0, "sleep 1000")
	fine := policy("on-failure", 0, "exit 0")
	l.until(failing, "given up", func(r *api.Container) bool {
		return r.State == api.ContainerState_EXITED && r.RestartCount == 2
	})
	l.until(always, "restarted", func(r *api.Container) bool { return r.RestartCount >= 2 })
	if row := l.ended(fine); row.RestartCount != 0 {
		t.Errorf("a success was restarted: %v", row)
	}
	now := time.Duration(0)
	if err := l.Stop(l.ctx(), stopped, &now, ""); err != nil {
		t.Fatal(err)
	}
	kept := policy("always", 0, "sleep 1000")
	for _, id := range []string{always, kept} {
		if err := l.Stop(l.ctx(), id, &now, ""); err != nil {
			t.Fatal(err)
		}
	}
	before := l.row(always).StartedAt.AsTime()
	l.reopen() // as after a reboot: always comes back, what a user stopped does not
	l.until(always, "started again", func(r *api.Container) bool { return r.StartedAt.AsTime().After(before) })
	l.until(kept, "started again, which is no restart", func(r *api.Container) bool {
		return r.State == api.ContainerState_CONTAINER_RUNNING && r.RestartCount == 0
	})
	if row := l.row(stopped); row.State != api.ContainerState_EXITED {
		t.Errorf("a container that a user stopped is %s", stateName(row.State))
	}
}

func TestAutoRemove(t *testing.T) {
	l := openLab(t)
	r := request("short", "exit 5")
	r.AutoRemove = true
	r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Target: "/data"}}
	id := l.create(r)
	a, err := l.Attach(l.ctx(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	if row, err := a.Exit(l.ctx()); err != nil || row.ExitCode != 5 {
		t.Errorf("exit %v, %v", row, err)
	}
	if s, err := a.Stream(l.ctx()); err == nil {
		s.Close()
	}
	enginetest.Until(t, "it is removed", func() bool {
		_, err := l.Inspect(l.ctx(), id)
		return errors.Is(err, ErrNotFound)
	})
	if left := l.traces(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAttachMissesNothing(t *testing.T) {
	l := openLab(t)
	for range 10 {
		id := l.create(request("", "echo first"))
		a, err := l.Attach(l.ctx(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(l.ctx(), id); err != nil {
			t.Fatal(err)
		}
		s, err := a.Stream(l.ctx())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := s.Output(&out, &out); err != nil || out.String() != "first\n" {
			t.Errorf("got %q, %v", out.String(), err)
		}
		s.Close()
	}
}

func TestHealth(t *testing.T) {
	l := openLab(t)
	r := request("", "touch /ok; sleep 1000")
	r.Spec.Healthcheck = &api.HealthConfig{
		Test: []string{"CMD-SHELL", "echo looked; test -e /ok"}, Interval: durationpb.New(20 * time.Millisecond),
		Timeout: durationpb.New(5 * time.Second), Retries: 2,
	}
	id := l.run(r)
	l.until(id, "healthy", func(r *api.Container) bool { return r.Health == "healthy" })
	l.exec(id, "rm /ok")
	l.until(id, "unhealthy", func(r *api.Container) bool { return r.Health == "unhealthy" })
	if log := l.row(id).HealthLog; len(log) == 0 || log[len(log)-1].Output != "looked\n" || log[len(log)-1].ExitCode != 1 {
		t.Errorf("health log %v", log)
	}
	if streak := l.row(id).FailingStreak; streak < 2 {
		t.Errorf("%d failures in a row", streak)
	}
	l.exec(id, "touch /ok")
	l.until(id, "healthy again", func(r *api.Container) bool { return r.Health == "healthy" && r.FailingStreak == 0 })
	if err := l.Kill(l.ctx(), id, ""); err != nil {
		t.Fatal(err)
	}
	if row := l.row(id); row.State != api.ContainerState_EXITED || len(row.HealthLog) == 0 { // a kill waits for the end
		t.Errorf("after the kill %v", row)
	}
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	for row, i := l.row(id), 0; i < len(row.HealthLog); i++ { // it may have been looked at already
		if row.HealthLog[i].Start.AsTime().Before(row.StartedAt.AsTime()) {
			t.Errorf("a new run begins with the old one's health: %v", row)
		}
	}
}

func TestLogsFollow(t *testing.T) {
	l := openLab(t)
	id := l.run(request("", "for i in 1 2 3; do echo line $i; sleep 0.03; done"))
	var got strings.Builder
	err := l.Logs(l.ctx(), id, &api.LogOptions{Tail: -1, Follow: true}, func(line *api.LogLine) error {
		got.Write(line.Data)
		return nil
	})
	if err != nil || got.String() != "line 1\nline 2\nline 3\n" {
		t.Errorf("got %q, %v", got.String(), err)
	}
}

func TestPauseAndUpdateStats(t *testing.T) {
	l := openLab(t)
	r := request("", "sleep 1000")
	r.Spec.Limits = &api.ContainerLimits{MemoryBytes: 64 << 20}
	id := l.run(r)
	if err := l.Pause(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Exec(l.ctx(), &api.ExecOpen{Ref: id, Command: []string{"true"}}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("exec in a paused container: %v", err)
	}
	l.reopen()
	if row := l.row(id); row.State != api.ContainerState_PAUSED {
		t.Errorf("after a restart of the daemon it is %s", stateName(row.State))
	}
	if err := l.Unpause(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	stats, err := l.Stats(l.ctx(), []string{id})
	if err != nil || len(stats) != 1 || stats[0].MemoryLimit != 64<<20 || stats[0].Pids != 1 || stats[0].MemoryBytes == 0 {
		t.Errorf("stats %v, %v", stats, err)
	}
}
