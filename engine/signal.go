//go:build linux

package engine

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// ParseSignal reads SIGTERM, TERM or 15.
func ParseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return 0, errorf(ErrInvalid, "signal %d is not between 1 and 64", n)
		}
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if rt, ok := strings.CutPrefix(name, "SIGRTMIN+"); ok {
		if n, err := strconv.Atoi(rt); err == nil && n >= 0 && n <= 30 {
			return syscall.Signal(34 + n), nil
		}
	}
	return 0, errorf(ErrInvalid, "unknown signal %q", s)
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
	err := e.cfg.Runtime.Kill(ctx, c.id, sig, false)
	if err == nil && c.get().State == api.ContainerState_PAUSED {
		err = e.cfg.Runtime.Resume(ctx, c.id)
	}
	if errors.Is(err, runtime.ErrNotRunning) || errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// killWait is how long a process may take to die of SIGKILL before Stop gives up on it.
const killWait = 10 * time.Second
