//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

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
		pause.For(ctx, stepRetry)
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
		pause.For(ctx, stepRetry)
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
			pause.For(ctx, stepRetry)
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
			pause.For(ctx, stepRetry)
		}
		return
	}
	r.mu.Lock()
	r.removed = true
	r.mu.Unlock()
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
