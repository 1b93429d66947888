//go:build linux

package engine

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/proto/api"
)

// told are the actions in the journal since a moment.
func (l *lab) told(since time.Time) (actions []string) {
	l.t.Helper()
	l.must(l.Watch(l.ctx(), since, time.Now(), func(ev *api.Event) error {
		actions = append(actions, strings.Fields(ev.Action)[0])
		return nil
	}))
	return actions
}

// Whoever has waited for an end finds it in the journal: at the moment at which he is woken up, the daemon does nothing more.
func TestEndIsToldBeforeItIsAnswered(t *testing.T) {
	l := openLab(t)
	answered := make(chan []string, 1)
	begin := time.Now()
	l.cfg.FaultPoint = func(point string) {
		if point == "end.row" { // just after the one who waits is woken up
			answered <- l.told(begin)
		}
	}
	l.run(request("", "exit 3"))
	if got, want := <-answered, []string{"create", "start", "die"}; !slices.Equal(got, want) {
		t.Errorf("a wait is answered after the events %v, want %v", got, want)
	}

	l.cfg.FaultPoint = func(string) {}
	begin = time.Now()
	r := request("gone", "sleep 1000")
	r.AutoRemove = true
	id := l.run(r)
	a, err := l.Attach(l.ctx(), id)
	l.must(err)
	stream, err := a.Stream(l.ctx())
	l.must(err)
	stream.Close()
	go l.Kill(l.ctx(), id, "KILL")
	_, err = a.Exit(l.ctx())
	l.must(err)
	if got, want := l.told(begin), []string{"create", "start", "attach", "kill", "die", "destroy"}; !slices.Equal(got, want) {
		t.Errorf("the end of run --rm is answered after the events %v, want %v", got, want)
	}
}

// lateRuntime answers a signal when all that comes of it has happened, unless that waits for the answer.
type lateRuntime struct {
	runtime.Runtime
	happened func() bool
}

func (r lateRuntime) Kill(ctx context.Context, id string, sig syscall.Signal) error {
	err := r.Runtime.Kill(ctx, id, sig)
	poll.Until(time.Second, r.happened)
	return err
}

func TestKillIsToldBeforeTheEnd(t *testing.T) {
	l := openLab(t)
	begin := time.Now()
	l.cfg.Runtime = lateRuntime{l.cfg.Runtime, func() bool { return slices.Contains(l.told(begin), "die") }}
	id := l.ready(request("", "trap 'exit 0' HUP; echo ready; while :; do sleep 0.01; done"))
	l.must(l.Kill(l.ctx(), id, "HUP"))
	l.ended(id)
	if got := l.told(begin); !slices.Equal(got, []string{"create", "start", "kill", "die"}) {
		t.Errorf("events %v, want kill before die", got)
	}
}

func TestEndOfExecIsTold(t *testing.T) {
	l := openLab(t)
	id := l.run(request("", "sleep 1000"))
	begin := time.Now()
	var answered atomic.Bool
	l.cfg.FaultPoint = func(p string) {
		if p == "exec.ended" {
			poll.Until(100*time.Millisecond, answered.Load) // as whoever does not wait for the journal is
		}
	}
	p, err := l.Exec(l.ctx(), &api.ExecOpen{Ref: id, Command: []string{"false"}})
	l.must(err)
	defer p.Stream().Close()
	exit, err := p.Wait(l.ctx())
	answered.Store(true)
	if err != nil || exit.Code != 1 {
		t.Fatal(exit, err)
	}
	if got, want := l.told(begin), []string{"exec_create:", "exec_start:", "exec_die"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}
