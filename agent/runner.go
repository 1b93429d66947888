//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

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

func (r *runner) prepare(ctx context.Context) {
	r.set(api.TaskState_PREPARING, "preparing: image and container", "")
	err, ended := r.interruptible(ctx, r.ctl.Prepare)
	switch {
	case !ended:
	case err != nil:
		r.set(api.TaskState_REJECTED, "could not be prepared", err.Error())
	default:
		r.set(api.TaskState_READY, "prepared", "")
	}
}

func (r *runner) start(ctx context.Context) {
	r.set(api.TaskState_STARTING, "starting", "")
	var health string
	err, ended := r.interruptible(ctx, func(ctx context.Context) error {
		if err := r.ctl.Start(ctx); err != nil {
			return err
		}
		if c := r.ctl.Status(ctx); c.GetHealth() == "starting" {
			r.setContainer(api.TaskState_STARTING, "starting: health check", "", c)
		}
		h, err := r.ctl.Healthy(ctx)
		health = h
		return err
	})
	switch {
	case !ended:
	case err != nil:
		r.fail(ctx, err)
	case health == "unhealthy":
		r.watch(ctx) // stops it and says why
	default:
		r.setContainer(api.TaskState_RUNNING, "started", "", r.ctl.Status(ctx))
	}
}

// fail ends a task that did not start. What is left of its container is taken off the network first.
func (r *runner) fail(ctx context.Context, cause error) {
	if err := r.ctl.Terminate(ctx); err != nil {
		r.log.Warn("cleaning up after a failed start failed, will try again", "error", err)
		pause(ctx, stepRetry)
		return // still STARTING: start again finds out
	}
	r.setContainer(api.TaskState_FAILED, "could not be started", cause.Error(), r.ctl.Status(ctx))
}

func (r *runner) watch(ctx context.Context) {
	var exit container.Exit
	err, ended := r.interruptible(ctx, func(ctx context.Context) (err error) {
		exit, err = r.ctl.Wait(ctx)
		return err
	})
	if !ended {
		return
	}
	if err != nil {
		r.log.Warn("waiting for a container failed, will try again", "error", err)
		pause(ctx, stepRetry)
		return
	}
	r.ended(ctx, exit)
}

func (r *runner) ended(ctx context.Context, exit container.Exit) {
	c := r.ctl.Status(ctx)
	if exit.Code == 0 && exit.Err == "" {
		r.setContainer(api.TaskState_COMPLETE, "finished", "", c)
		return
	}
	why := exit.Err
	switch {
	case why != "":
	case exit.OOM:
		why = fmt.Sprintf("exit code %d: the container ran out of memory", exit.Code)
	default:
		why = fmt.Sprintf("exit code %d", exit.Code)
	}
	r.setContainer(api.TaskState_FAILED, "failed", why, c)
}

// shutdown is the second phase of stopping. The first is over: managers have told every node that this task takes
// no new connections; those nodes need a moment to follow, unless nobody else could serve anyway.
func (r *runner) shutdown(ctx context.Context) {
	if r.state() == api.TaskState_RUNNING && r.drainable() {
		r.drained(ctx)
	}
	if err := r.ctl.Shutdown(ctx); err != nil && ctx.Err() == nil {
		r.log.Warn("stopping a container failed, killing it", "error", err)
		if err := r.ctl.Terminate(ctx); err != nil {
			r.log.Warn("killing a container failed, will try again", "error", err)
			pause(ctx, stepRetry)
			return
		}
	}
	if ctx.Err() == nil {
		r.setContainer(api.TaskState_SHUTDOWN, "stopped", "", r.ctl.Status(ctx))
	}
}

// drained waits for the drain time, or less if the container ends by itself.
func (r *runner) drained(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	r.ctl.Wait(ctx) // either outcome is followed by Shutdown
}

func (r *runner) remove(ctx context.Context) {
	if err := r.ctl.Remove(ctx); err != nil {
		if ctx.Err() == nil {
			r.log.Warn("removing a container failed, will try again", "error", err)
			pause(ctx, stepRetry)
		}
		return
	}
	r.mu.Lock()
	r.removed = true
	r.mu.Unlock()
}

func (r *runner) state() api.TaskState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.State
}

func (r *runner) set(state api.TaskState, message, err string) {
	r.mu.Lock()
	c := r.status.Container
	r.mu.Unlock()
	r.setContainer(state, message, err, c)
}

// setContainer changes the status and reports it.
func (r *runner) setContainer(state api.TaskState, message, err string, c *api.ContainerStatus) {
	s := &api.TaskStatus{State: state, Timestamp: timestamppb.Now(), Message: message, Err: err, Container: c}
	r.mu.Lock()
	if state == api.TaskState_RUNNING {
		s.Ports = container.Ports(r.task)
	}
	r.status = s
	r.mu.Unlock()
	r.report(s)
}

// resume compares a status from before this daemon's start with the container that is there. A task that was
// started is never started again.
func (r *runner) resume(ctx context.Context) error {
	if r.status.State > api.TaskState_RUNNING {
		return nil
	}
	found, started, err := r.ctl.Find(ctx)
	switch {
	case err != nil:
		return err
	case started && r.status.State < api.TaskState_STARTING:
		r.status.State = api.TaskState_STARTING // the last reports were lost: Start will find it running or ended
	case !found && r.status.State >= api.TaskState_STARTING:
		r.setContainer(api.TaskState_FAILED, "failed", errLost.Error(), r.status.Container)
	case found && !started && r.status.State > api.TaskState_READY:
		r.status.State = api.TaskState_READY
	}
	return nil
}

var errLost = errors.New("its container is gone: it was removed while the daemon was down")
