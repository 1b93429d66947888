//go:build linux

package engine

import (
	"context"
	"time"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// adopt brings one row and what the runtime says together.
func (e *Engine) adopt(ctx context.Context, c *container, s runtime.State) {
	row := c.get()
	switch {
	case s.Status == runtime.Running || s.Status == runtime.Paused:
		if err := e.readopt(ctx, c, s); err != nil {
			e.log.Error("row was not written", "container", c.id, "error", err)
		}
	case active(row.State) && s.Status == runtime.Stopped && s.Exit != nil:
		e.exited(c, *s.Exit)
	case active(row.State):
		e.exited(c, lostExit(nil))
	case s.Status == runtime.Stopped && s.Exit != nil && s.Exit.Error == "" && s.StartedAt.After(row.StartedAt.AsTime()):
		// The daemon died between the start and writing it down, and the container ended since.
		e.exited(c, *s.Exit)
	default:
		e.releaseIdle(c)
		e.removeEnded(c)
	}
}

// removeEnded removes a container that was to go at its end, when the daemon died in between.
func (e *Engine) removeEnded(c *container) {
	row := c.get()
	ended := row.State == api.ContainerState_EXITED || row.State == api.ContainerState_CREATED && row.FinishedAt != nil // its start failed
	if !row.AutoRemove || !ended {
		return
	}
	if err := e.removeLocked(c, true); err != nil {
		e.log.Error("container was not removed", "container", c.id, "error", err)
	}
}

// readopt takes over a container that went on running without a daemon.
func (e *Engine) readopt(ctx context.Context, c *container, s runtime.State) error {
	row := c.get()
	if row.State != api.ContainerState_PAUSED {
		e.thaw(ctx, c, &s)
	}
	stopped := row.StoppedByUser && active(row.State)
	if err := e.started(c, s); err != nil {
		return err
	}
	if stopped {
		if err := c.update(func(row *api.Container) { row.StoppedByUser = true }); err != nil {
			return err
		}
	}
	e.adoptVolumes(c)
	e.startHealth(c)
	return nil
}

// thawWait is how long processes may take to go on.
const thawWait = 2 * time.Second

// thaw lets a container go on that its row does not call paused: the daemon died while it stood still for a commit, or before its
// pause was written down. Processes may stand still although the container as a whole does not yet.
func (e *Engine) thaw(ctx context.Context, c *container, s *runtime.State) {
	ctx, cancel := context.WithTimeout(ctx, thawWait)
	defer cancel()
	err := e.cfg.Runtime.Resume(ctx, c.id)
	switch {
	case err == nil:
		s.Status = runtime.Running
	case s.Status == runtime.Paused:
		e.log.Error("container stands still although it is not paused", "container", c.id, "error", err)
	}
}

// releaseIdle gives back what a start that was cut off left. A task's namespaces wait for its start.
func (e *Engine) releaseIdle(c *container) {
	steps := e.startSteps()
	if row := c.get(); row.NetworkMode == NetworkExternal && row.State == api.ContainerState_CREATED {
		steps = steps[len(e.namespaceSteps()):]
	}
	e.release(c, steps)
}
