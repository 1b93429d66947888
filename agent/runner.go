//go:build linux

package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	// drain is how long a task goes on serving after every node was told to send it nothing new.
	drain = 500 * time.Millisecond
	// stepRetry is the pause after stopping or removing failed: neither is ever given up.
	stepRetry = time.Second
)

// controller is what a runner drives. *container.Controller is one.
type controller interface {
	Find(ctx context.Context) (found, started bool, err error)
	Prepare(ctx context.Context) error
	Start(ctx context.Context) error
	Healthy(ctx context.Context) (string, error)
	Wait(ctx context.Context) (container.Exit, error)
	Shutdown(ctx context.Context) error
	Terminate(ctx context.Context) error
	Remove(ctx context.Context) error
	Status(ctx context.Context) *api.ContainerStatus
}

// runner drives one task: it asks next what to do, does it, reports what came of it, and again.
type runner struct {
	ctl       controller
	log       *slog.Logger
	report    func(*api.TaskStatus)
	drainable func() bool

	updated chan struct{} // buffered by one: task or gone has changed
	due     time.Time     // not to be started before, by this node's clock; zero: at once

	mu      sync.Mutex
	task    *api.Task
	gone    bool
	removed bool
	status  *api.TaskStatus
}

func newRunner(ctl controller, task *api.Task, status *api.TaskStatus, log *slog.Logger) *runner {
	if status == nil {
		status = &api.TaskStatus{State: api.TaskState_ASSIGNED}
	}
	status = proto.CloneOf(status)
	return &runner{
		ctl: ctl, log: log.With("task", task.Id), task: task, status: status, updated: make(chan struct{}, 1),
		due: due(task, status, time.Now()),
	}
}

// due turns the time before which a task is not to start into one of this node's clock, which may differ from that of the
// managers by hours: what they gave is how long to wait from the assignment on, and that was a moment ago. After a restart
// of the daemon it was longer ago, and this node's clock may know better.
func due(t *api.Task, status *api.TaskStatus, now time.Time) time.Time {
	if t.NotBefore == nil {
		return time.Time{}
	}
	at := t.NotBefore.AsTime()
	if t.Status.GetState() != api.TaskState_ASSIGNED || t.Status.Timestamp == nil {
		return at
	}
	relative := now.Add(at.Sub(t.Status.Timestamp.AsTime()))
	if status.State > api.TaskState_ASSIGNED && at.Before(relative) {
		return at
	}
	return relative
}

// update gives the runner the newest word of the managers; nil: they do not know the task.
func (r *runner) update(t *api.Task) {
	r.mu.Lock()
	if t == nil {
		r.gone = true
	} else {
		r.task = t
		r.gone = t.Status.GetState() == api.TaskState_ORPHANED
	}
	r.mu.Unlock()
	select {
	case r.updated <- struct{}{}:
	default:
	}
}

func (r *runner) situation() situation {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := situation{State: r.status.State, Desired: r.task.DesiredState, Gone: r.gone, Removed: r.removed}
	if !r.due.IsZero() {
		s.Wait = time.Until(r.due)
	}
	return s
}

// run returns nil once the task may be forgotten, or ctx's error; the container goes on running then.
func (r *runner) run(ctx context.Context) error {
	for ctx.Err() == nil {
		s := r.situation()
		switch next(s) {
		case doForget:
			return nil
		case doRest:
			r.await(ctx, 0)
		case doWait:
			r.await(ctx, s.Wait)
		case doAccept:
			r.set(api.TaskState_ACCEPTED, "accepted", "")
		case doPrepare:
			r.prepare(ctx)
		case doStart:
			r.start(ctx)
		case doWatch:
			r.watch(ctx)
		case doShutdown:
			r.shutdown(ctx)
		case doRemove:
			r.remove(ctx)
		}
	}
	return ctx.Err()
}

// await waits for news, for d if it is positive, or for the end.
func (r *runner) await(ctx context.Context, d time.Duration) {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-r.updated:
	case <-timer:
	}
}

// interruptible runs fn and cancels it when the task is to stop. It tells whether fn came to its own end.
func (r *runner) interruptible(ctx context.Context, fn func(context.Context) error) (err error, ended bool) {
	fctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fn(fctx) }()
	for {
		select {
		case err := <-done:
			return err, fctx.Err() == nil
		case <-r.updated:
			if next(r.situation()) == doShutdown {
				cancel()
			}
		}
	}
}
