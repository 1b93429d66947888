//go:build linux

package engine

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/signals"
	"github.com/shoal-dev/shoal/proto/api"
)

// ParseSignal reads the name or number of a signal.
func ParseSignal(s string) (syscall.Signal, error) {
	sig, err := signals.Parse(s)
	if err != nil {
		return 0, errorf(ErrInvalid, "%v", err)
	}
	return sig, nil
}

// stopSignal is the one asked for, the container's, the image's or SIGTERM.
func (c *container) stopSignal(signal string) (syscall.Signal, error) {
	if signal == "" {
		signal = c.get().Spec.GetStopSignal()
	}
	if signal == "" {
		signal = c.img.Config.StopSignal
	}
	if signal == "" {
		return syscall.SIGTERM, nil
	}
	return ParseSignal(signal)
}

// signal sends one to PID 1. A paused container is resumed so that it can take notice. One that has just ended is fine.
func (e *Engine) signal(ctx context.Context, c *container, sig syscall.Signal) error {
	err := e.cfg.Runtime.Kill(ctx, c.id, sig)
	if err == nil && c.get().State == api.ContainerState_PAUSED {
		err = e.cfg.Runtime.Resume(ctx, c.id)
	}
	if errors.Is(err, runtime.ErrNotRunning) || errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// signalTold is signal, and tells of it before anybody tells of an end that comes of it: that waits for c.op. To a container that
// has ended meanwhile nothing is sent, and nothing is told.
func (e *Engine) signalTold(ctx context.Context, c *container, sig syscall.Signal) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if !active(c.get().State) {
		return nil
	}
	if err := e.signal(ctx, c, sig); err != nil {
		return err
	}
	e.announceContainer(c.get(), "kill", map[string]string{"signal": strconv.Itoa(int(sig))})
	return nil
}

// killWait is how long a process may take to die of SIGKILL before Stop gives up on it.
const killWait = 10 * time.Second
