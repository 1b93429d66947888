//go:build linux

package engine

import (
	"context"
	"syscall"
)

// Kill sends a signal (SIGKILL if empty) to the container's PID 1.
func (e *Engine) Kill(ctx context.Context, ref, signal string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	sig := syscall.SIGKILL
	if signal != "" {
		if sig, err = ParseSignal(signal); err != nil {
			return err
		}
	}
	ctx, cancel := e.own(ctx)
	defer cancel()
	run := c.run()
	if err := e.requireRunning(c); err != nil {
		return err
	}
	own, err := c.stopSignal("")
	if err != nil {
		return err
	}
	if sig == syscall.SIGKILL || sig == own { // as good as a stop: no policy starts it again
		if _, _, err := e.markStopped(ctx, c); err != nil {
			return err
		}
	}
	if err := e.signalTold(ctx, c, sig); err != nil {
		return err
	}
	if sig == syscall.SIGKILL { // nobody can refuse it: what follows finds the container as it will stay
		return e.waitKilled(ctx, c, run)
	}
	return nil
}
