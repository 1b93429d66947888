//go:build linux

package engine

import (
	"context"
	"errors"
	"time"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// Restart delays double from the first to the last; a run of at least restartReset starts over.
const (
	restartFirst = 100 * time.Millisecond
	restartLast  = time.Minute
	restartReset = 10 * time.Second
)

func checkRestart(req *api.CreateContainerRequest) error {
	p := req.GetRestart()
	switch p.GetName() {
	case "", "no", "always", "unless-stopped", "on-failure":
	default:
		return errorf(ErrInvalid, "restart policy %q is not no, on-failure, always or unless-stopped", p.GetName())
	}
	if p.GetMaxRetries() != 0 && p.GetName() != "on-failure" {
		return errorf(ErrInvalid, "restart policy %q takes no maximum number of retries: only on-failure does", p.GetName())
	}
	if p.GetMaxRetries() < 0 {
		return errorf(ErrInvalid, "restart policy: %d retries", p.GetMaxRetries())
	}
	if req.AutoRemove && p.GetName() != "" && p.GetName() != "no" {
		return errorf(ErrInvalid, "a container that is removed at its end cannot have the restart policy %q", p.GetName())
	}
	return nil
}

// restartDecision says whether a container that ended is started again, and when.
func (e *Engine) restartDecision(c *container, exit runtime.Exit) (bool, time.Duration) {
	row := c.get()
	if row.StoppedByUser || !wantsRestart(row, exit.Code) {
		return false, 0
	}
	return true, c.nextDelay(exit.At.Sub(row.StartedAt.AsTime()))
}

func wantsRestart(row *api.Container, code int) bool {
	switch p := row.Restart; p.GetName() {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return code != 0 && (p.MaxRetries == 0 || row.RestartCount < p.MaxRetries)
	default:
		return false
	}
}

// nextDelay counts the runs that did not last.
func (c *container) nextDelay(ran time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ran >= restartReset {
		c.failures = 0
	}
	delay := restartLast
	if c.failures < 10 {
		delay = min(restartLast, restartFirst<<c.failures)
	}
	c.failures++
	return delay
}

// scheduleRestart starts a container after a while, unless it is stopped, started or removed before. counts: as one more restart.
func (e *Engine) scheduleRestart(c *container, delay time.Duration, counts bool) {
	ctx, cancel := context.WithCancel(e.ctx)
	c.mu.Lock()
	c.endRestart = cancel
	c.mu.Unlock()
	e.start(func(context.Context) {
		defer cancel()
		if pause.For(ctx, delay) != nil || c.lock(ctx) != nil {
			return
		}
		defer c.unlock()
		if ctx.Err() == nil {
			e.restartNow(c, counts)
		}
	})
}

// restartNow is one attempt; c.op is held. A failure that may pass is tried again.
func (e *Engine) restartNow(c *container, counts bool) {
	if c.isRemoved() || c.get().State != api.ContainerState_RESTARTING {
		return
	}
	// Past this point the attempt is not cancelled by its own success.
	c.mu.Lock()
	c.endRestart = nil
	c.mu.Unlock()
	err := c.update(func(row *api.Container) {
		row.RestartCount++
		if !counts {
			row.RestartCount = 0
		}
	})
	if err == nil {
		err = e.startLocked(e.ctx, c)
	}
	if err == nil {
		return
	}
	e.log.Warn("container did not restart", "container", c.id, "error", err)
	final := errors.Is(err, runtime.ErrNoCommand) || errors.Is(err, runtime.ErrNotRunnable) || e.ctx.Err() != nil
	if final || !wantsRestart(c.get(), 125) {
		return
	}
	if c.update(func(row *api.Container) { row.State = api.ContainerState_RESTARTING }) == nil {
		e.scheduleRestart(c, c.nextDelay(0), true)
	}
}

// restartAfterBoot starts what should run but does not, after Open has adopted what does.
func (e *Engine) restartAfterBoot() {
	for _, c := range e.all() {
		row := c.get()
		if active(row.State) || row.StartedAt == nil && row.State != api.ContainerState_RESTARTING {
			continue
		}
		name := row.Restart.GetName()
		again := row.State == api.ContainerState_RESTARTING || name == "always" || name == "unless-stopped" && !row.StoppedByUser
		if !again || c.isRemoved() || c.restartPending() {
			continue
		}
		if err := c.update(func(row *api.Container) { row.State = api.ContainerState_RESTARTING }); err != nil {
			e.log.Error("row was not written", "container", c.id, "error", err)
			continue
		}
		e.scheduleRestart(c, 0, row.State == api.ContainerState_RESTARTING) // one that had been stopped begins anew, it did not fail
	}
}

func (c *container) restartPending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endRestart != nil
}
