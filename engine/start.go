//go:build linux

package engine

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// Start runs a created or ended container. One that runs already is left alone. When the command could not be
// executed the error is a *StartError, and the row holds its exit code and message.
func (e *Engine) Start(ctx context.Context, ref string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	c.mu.Lock()
	c.failures = 0
	c.mu.Unlock()
	if row := c.get(); row.RestartCount != 0 && !active(row.State) {
		if err := c.update(func(row *api.Container) { row.RestartCount = 0 }); err != nil {
			return err
		}
	}
	return e.startLocked(ctx, c)
}

func (e *Engine) startLocked(ctx context.Context, c *container) error {
	row := c.get()
	switch {
	case c.isRemoved():
		return errorf(ErrNotFound, "no such container: %s", row.Name)
	case row.State == api.ContainerState_CONTAINER_RUNNING:
		return nil
	case c.isBeingRemoved():
		return errorf(ErrPrecondition, "container %s is being removed: it cannot be started any more", row.Name)
	case row.State == api.ContainerState_PAUSED:
		return errorf(ErrPrecondition, "container %s is paused: unpause it", row.Name)
	case row.State == api.ContainerState_DEAD:
		return errorf(ErrPrecondition, "container %s is dead (its removal failed): remove it", row.Name)
	}
	c.stopRestarting()
	if err := e.run(ctx, c); err != nil {
		return e.startFailed(c, err)
	}
	e.refreshLinks(c.id)
	e.cfg.FaultPoint("start.running")
	e.announceNetworks(c.get(), "connect")
	e.announceVolumes(c.get(), "mount")
	e.emit(c, "start", nil)
	e.startHealth(c)
	return nil
}

// run takes a container from row to running process.
func (e *Engine) run(ctx context.Context, c *container) error {
	steps := e.startSteps()
	if err := e.prepare(ctx, c, "start", steps); err != nil {
		return err
	}
	e.attachWaiting(ctx, c)
	if err := e.cfg.Runtime.Start(ctx, c.id); err != nil {
		e.release(c, steps)
		return err
	}
	e.cfg.FaultPoint("start.process")
	state, err := e.cfg.Runtime.State(ctx, c.id)
	if err != nil {
		e.release(c, steps)
		return err
	}
	return e.started(c, state)
}

// started writes down that a container runs, and watches for its end. One that has ended already is
// found by the watch.
func (e *Engine) started(c *container, state runtime.State) error {
	err := c.update(func(row *api.Container) {
		fresh := !active(row.State)
		row.State = api.ContainerState_CONTAINER_RUNNING
		if state.Status == runtime.Paused {
			row.State = api.ContainerState_PAUSED
		}
		row.Pid = int32(state.Pid)
		row.StartedAt = timestamppb.New(state.StartedAt)
		row.ExitCode, row.Error, row.OomKilled, row.StoppedByUser = 0, "", false, false
		if fresh {
			row.Health, row.HealthLog, row.FailingStreak = "", nil, 0
		}
	})
	e.start(func(ctx context.Context) { e.watch(ctx, c) })
	return err
}

// startFailed writes down why a container did not start. One that was to be removed at its end is removed.
func (e *Engine) startFailed(c *container, cause error) error {
	row := c.get()
	failure := &StartError{Container: c.id, ExitCode: startExitCode(cause), Err: cause}
	err := c.update(func(row *api.Container) {
		if row.State == api.ContainerState_RESTARTING {
			row.State = api.ContainerState_EXITED
		}
		row.ExitCode, row.Error = int32(failure.ExitCode), cause.Error()
		row.FinishedAt = timestamppb.Now()
		row.Pid = 0
	})
	if err != nil {
		e.log.Error("row was not written", "container", c.id, "error", err)
	}
	c.failWaiting(failure)
	if row.AutoRemove {
		if err := e.removeLocked(c, true); err != nil {
			e.log.Error("container was not removed", "container", c.id, "error", err)
		}
	}
	return failure
}

func (c *container) isRemoved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed
}

// stopRestarting cancels a restart that waits for its time.
func (c *container) stopRestarting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endRestart != nil {
		c.endRestart()
		c.endRestart = nil
	}
}
