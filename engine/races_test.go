//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// deaf is a container that only SIGKILL ends.
func (l *lab) deaf(name string) string {
	l.t.Helper()
	return l.ready(request(name, "trap '' TERM; echo ready; sleep 1000"))
}

// leaving is a client that goes as soon as a container has been sent its stop signal.
func (l *lab) leaving(id string) context.Context {
	ctx, leave := context.WithCancel(l.ctx())
	begin := time.Now()
	go l.Watch(ctx, begin, time.Time{}, func(ev *api.Event) error {
		if ev.Id == id && ev.Action == "kill" {
			leave()
		}
		return nil
	})
	return ctx
}

// What has been begun with a container is brought to its end, whoever asked for it and is gone by now: else it would run on
// without the policy that restarts it, or not run at all.
func TestClientLeaves(t *testing.T) {
	l := openLab(t)
	grace := 300 * time.Millisecond
	stopped, restarted, removed := l.deaf("stopped"), l.deaf("restarted"), l.deaf("removed")
	began := l.row(restarted).StartedAt.AsTime()
	l.Stop(l.leaving(stopped), stopped, &grace, "")
	l.Restart(l.leaving(restarted), restarted, &grace, "")
	l.Remove(l.leaving(removed), removed, true, false)
	l.until(stopped, "stopped", func(r *api.Container) bool { return r.State == api.ContainerState_EXITED })
	l.until(restarted, "running again", func(r *api.Container) bool {
		return r.State == api.ContainerState_CONTAINER_RUNNING && r.StartedAt.AsTime().After(began)
	})
	enginetest.Until(t, "it is removed", func() bool {
		_, err := l.Inspect(l.ctx(), removed)
		return err != nil
	})
}

// A restart that the daemon's end cuts off is finished by the next one.
func TestRestartOverlapsTheDaemonsEnd(t *testing.T) {
	l := openLab(t)
	grace := time.Second
	began := map[string]time.Time{}
	for _, name := range []string{"one", "two", "three", "four", "five", "six"} {
		id := l.deaf(name)
		began[id] = l.row(id).StartedAt.AsTime()
	}
	old := l.Engine
	for id := range began {
		killed := l.leaving(id)
		go old.Restart(context.Background(), id, &grace, "")
		<-killed.Done()
	}
	l.reopen()
	for id, at := range began {
		l.until(id, "running again", func(r *api.Container) bool {
			return r.State == api.ContainerState_CONTAINER_RUNNING && r.StartedAt.AsTime().After(at)
		})
	}
}

// Whoever waits for the end of a run sees it, also if somebody has started the container again before he looks.
func TestEndBetweenTwoLooks(t *testing.T) {
	synctest.Test(t, testEndBetweenTwoLooks)
}

func testEndBetweenTwoLooks(t *testing.T) {
	c := newContainer("", &api.Container{Id: "x", State: api.ContainerState_CONTAINER_RUNNING}, nil, nil)
	e := &Engine{containers: map[string]*container{"x": c}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	a := &Attachment{c: c}
	waits := map[string]func() (int32, error){
		WaitNotRunning: func() (int32, error) { row, err := e.Wait(ctx, "x", WaitNotRunning); return row.GetExitCode(), err },
		WaitNextExit:   func() (int32, error) { row, err := e.Wait(ctx, "x", WaitNextExit); return row.GetExitCode(), err },
		"attach":       func() (int32, error) { row, err := a.Exit(ctx); return row.GetExitCode(), err },
		"stop":         func() (int32, error) { return 3, e.waitEnd(ctx, c, c.run(), time.Minute) },
	}
	type result struct {
		what string
		code int32
		err  error
	}
	results := make(chan result)
	for what, wait := range waits {
		go func() {
			code, err := wait()
			results <- result{what, code, err}
		}()
	}
	synctest.Wait() // all wait
	c.mu.Lock()
	c.end(&api.Container{Id: "x", State: api.ContainerState_EXITED, ExitCode: 3})
	c.row = &api.Container{Id: "x", State: api.ContainerState_CONTAINER_RUNNING}
	c.notify()
	c.mu.Unlock()
	for range waits {
		if r := <-results; r.err != nil || r.code != 3 {
			t.Errorf("%s: exit code %d, %v; want 3", r.what, r.code, r.err)
		}
	}
}

// Events come in the order in which things happen: a container has died before it is stopped. Who removes it by force has not
// stopped it.
func TestEventsOfAnEnd(t *testing.T) {
	l := openLab(t)
	grace := time.Duration(0)
	for range 10 {
		id := l.run(request("", "sleep 1000"))
		begin := time.Now()
		told := func(want ...string) {
			t.Helper()
			var got []string
			l.Watch(l.ctx(), begin, time.Now(), func(ev *api.Event) error {
				got = append(got, ev.Action)
				return nil
			})
			if !slices.Equal(got, want) {
				t.Fatalf("events %v, want %v", got, want)
			}
		}
		l.must(l.Stop(l.ctx(), id, &grace, ""))
		told("kill", "die", "stop") // all is told when the command is over
		l.must(l.Start(l.ctx(), id))
		l.must(l.Remove(l.ctx(), id, true, false))
		told("kill", "die", "stop", "start", "kill", "die", "destroy")
	}
}

// A check that stands still with its container has not failed, and what fails in the start period is not counted.
func TestHealthOfThePaused(t *testing.T) {
	l := openLab(t)
	const timeout = 5 * time.Second // far more than a check takes, on a busy machine too
	r := request("", "sleep 1000")
	r.Spec.Healthcheck = &api.HealthConfig{
		Test: []string{"CMD-SHELL", "test -e /hold && touch /held; while test -e /hold; do sleep 0.01; done"}, Interval: durationpb.New(5 * time.Millisecond),
		Timeout: durationpb.New(timeout), Retries: 1,
	}
	begin := time.Now()
	id := l.run(r)
	root := fmt.Sprintf("/proc/%d/root", l.row(id).Pid)
	l.until(id, "healthy", func(r *api.Container) bool { return r.Health == HealthHealthy })
	l.must(os.WriteFile(root+"/hold", nil, 0o600))
	l.until(id, "being looked at", func(*api.Container) bool { _, err := os.Stat(root + "/held"); return err == nil })
	l.must(l.Pause(l.ctx(), id))
	paused := time.Now()
	l.must(os.Remove(root + "/hold"))
	enginetest.Until(t, "the check's time is over", func() bool { return time.Since(paused) > timeout })
	resumed := time.Now()
	l.must(l.Unpause(l.ctx(), id))
	l.until(id, "looked at again", func(r *api.Container) bool {
		n := len(r.HealthLog)
		return n > 0 && r.HealthLog[n-1].Start.AsTime().After(resumed)
	})
	l.Watch(l.ctx(), begin, time.Now(), func(ev *api.Event) error {
		if ev.Action == "health_status: unhealthy" {
			t.Error("the container was unhealthy")
		}
		return nil
	})
	early := request("", "sleep 1000")
	early.Spec.Healthcheck = &api.HealthConfig{
		Test: []string{"CMD-SHELL", "false"}, Interval: durationpb.New(5 * time.Millisecond), StartInterval: durationpb.New(5 * time.Millisecond),
		StartPeriod: durationpb.New(time.Hour), Retries: 1,
	}
	id = l.run(early)
	l.until(id, "looked at", func(r *api.Container) bool { return len(r.HealthLog) > 1 })
	if row := l.row(id); row.Health != HealthStarting || row.FailingStreak != 0 {
		t.Errorf("in its start period it is %s after %d failures", row.Health, row.FailingStreak)
	}
}

// The result of a check that comes after the end is nobody's any more.
func TestHealthOfTheEnded(t *testing.T) {
	l := openLab(t)
	id := l.run(request("", "true"))
	l.ended(id)
	c, err := l.find(id)
	l.must(err)
	begin := time.Now()
	l.setHealth(c, HealthUnhealthy, 1, nil)
	if row := l.row(id); row.Health != "" {
		t.Errorf("the ended one is %s", row.Health)
	}
	l.must(l.Watch(l.ctx(), begin, time.Now(), func(ev *api.Event) error {
		if strings.HasPrefix(ev.Action, "health_status") {
			t.Errorf("told of it: %s", ev.Action)
		}
		return nil
	}))
}
