//go:build linux

package engine

import (
	"context"
	"errors"
	"time"
)

// Restart stops a container, if it runs, and starts it.
func (e *Engine) Restart(ctx context.Context, ref string, timeout *time.Duration, signal string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if c.get().AutoRemove {
		return errorf(ErrPrecondition, "container %s is removed at its end and cannot be restarted", c.get().Name)
	}
	select {
	case c.restart <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.restart }()
	c.stopping(1)
	defer c.stopping(-1)
	ctx, cancel := e.own(ctx)
	defer cancel()
	return e.restartLocked(ctx, c, timeout, signal)
}

// restartLocked stops and starts; c.restart is held.
func (e *Engine) restartLocked(ctx context.Context, c *container, timeout *time.Duration, signal string) error {
	if err := e.beginRestart(ctx, c, timeout, signal); err != nil {
		return err
	}
	err := e.stop(ctx, c, timeout, signal)
	if err == nil {
		e.cfg.FaultPoint("restart.stopped")
		err = e.Start(ctx, c.id)
	}
	if err := errors.Join(err, e.endRestart(c)); err != nil {
		return err
	}
	e.emit(c, "restart", nil)
	return nil
}

// beginRestart writes down that a container is to run again, whatever happens to this daemon between its end and its start.
func (e *Engine) beginRestart(ctx context.Context, c *container, timeout *time.Duration, signal string) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	row := c.get()
	if c.isRemoved() {
		return errorf(ErrNotFound, "no such container: %s", row.Name)
	}
	return e.begin(c, unfinished{Restart: &restartAsked{Timeout: timeout, Signal: signal, Started: row.StartedAt.AsTime()}})
}

// endRestart leaves what is to be finished to the next daemon, if this one is about to end.
func (e *Engine) endRestart(c *container) error {
	if c.lock(e.ctx) != nil {
		return nil
	}
	defer c.unlock()
	return e.end(c)
}
