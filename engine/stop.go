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

// DefaultStopTimeout is the grace between the stop signal and SIGKILL.
const DefaultStopTimeout = 10 * time.Second

// killWait is how long a process may take to die of SIGKILL before Stop gives up on it.
const killWait = 10 * time.Second

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

// Stop ends a container: the signal (its own stop signal if empty), after timeout SIGKILL. A timeout of zero kills at
// once, a negative one waits for ever; nil is the container's own. One that does not run is left alone.
func (e *Engine) Stop(ctx context.Context, ref string, timeout *time.Duration, signal string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	c.stopping(1)
	defer c.stopping(-1)
	return e.stop(ctx, c, timeout, signal)
}

// own is a context for what has been begun and must come to its end, whether or not the client is there that asked for it:
// half of it is worse than nothing. It ends with the engine.
func (e *Engine) own(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { unhook(); cancel() }
}

// stop is Stop that is not told about.
func (e *Engine) stop(ctx context.Context, c *container, timeout *time.Duration, signal string) error {
	sig, err := c.stopSignal(signal)
	if err != nil {
		return err
	}
	run, running, err := e.markStopped(ctx, c)
	if err != nil || !running {
		return err
	}
	ctx, cancel := e.own(ctx)
	defer cancel()
	grace := stopGrace(c.get(), timeout)
	if grace != 0 {
		if err := e.signal(ctx, c, sig); err != nil {
			return err
		}
		e.announceContainer(c.get(), "kill", map[string]string{"signal": itoa(int(sig))})
		if err := e.waitEnd(ctx, c, run, grace); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
	if err := e.signal(ctx, c, syscall.SIGKILL); err != nil {
		return err
	}
	e.announceContainer(c.get(), "kill", map[string]string{"signal": itoa(int(syscall.SIGKILL))})
	return e.waitKilled(ctx, c, run)
}

// waitKilled waits for the end of a run that has been sent SIGKILL.
func (e *Engine) waitKilled(ctx context.Context, c *container, run int) error {
	err := e.waitEnd(ctx, c, run, killWait)
	if err != nil && ctx.Err() == nil {
		return errorf(ErrPrecondition, "container %s does not end although it was killed", c.get().Name)
	}
	return err
}

// markStopped writes down that somebody wants the container stopped, so that no policy starts it again. It returns the run that
// is to end, if it runs.
func (e *Engine) markStopped(ctx context.Context, c *container) (run int, running bool, err error) {
	if err := c.lock(ctx); err != nil {
		return 0, false, err
	}
	defer c.unlock()
	c.stopRestarting()
	row := c.get()
	switch {
	case active(row.State):
		if err := c.update(func(row *api.Container) { row.StoppedByUser = true }); err != nil {
			// Better stopped than written down: on a full disk the container may be what fills it.
			e.log.Warn("a stop is not on disk: if the daemon dies now, a restart policy may start the container again", "container", row.Name, "error", err)
		}
		return c.run(), true, nil
	case row.State == api.ContainerState_RESTARTING:
		return 0, false, c.update(func(row *api.Container) {
			row.StoppedByUser, row.State = true, api.ContainerState_EXITED
		})
	default:
		return 0, false, nil
	}
}

func stopGrace(row *api.Container, timeout *time.Duration) time.Duration {
	switch {
	case timeout != nil:
		return *timeout
	case row.Spec.GetStopGracePeriod() != nil:
		return row.Spec.StopGracePeriod.AsDuration()
	default:
		return DefaultStopTimeout
	}
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

// waitEnd waits for a run to be over and cleaned up. A negative time waits for ever.
func (e *Engine) waitEnd(ctx context.Context, c *container, run int, d time.Duration) error {
	if d >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	_, err := c.awaitEnd(ctx, run)
	return err
}

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
	if err := e.signal(ctx, c, sig); err != nil {
		return err
	}
	e.emit(c, "kill", map[string]string{"signal": itoa(int(sig))})
	if sig == syscall.SIGKILL { // nobody can refuse it: what follows finds the container as it will stay
		return e.waitKilled(ctx, c, run)
	}
	return nil
}

func (e *Engine) requireRunning(c *container) error {
	if row := c.get(); !active(row.State) {
		return errorf(ErrPrecondition, "container %s is not running", row.Name)
	}
	return nil
}

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

// Pause freezes every process of a container.
func (e *Engine) Pause(ctx context.Context, ref string) error {
	return e.freeze(ctx, ref, api.ContainerState_CONTAINER_RUNNING, api.ContainerState_PAUSED, "pause", e.cfg.Runtime.Pause)
}

// Unpause lets them go on.
func (e *Engine) Unpause(ctx context.Context, ref string) error {
	return e.freeze(ctx, ref, api.ContainerState_PAUSED, api.ContainerState_CONTAINER_RUNNING, "unpause", e.cfg.Runtime.Resume)
}

func (e *Engine) freeze(ctx context.Context, ref string, from, to api.ContainerState, verb string, do func(context.Context, string) error) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if row := c.get(); row.State != from {
		return errorf(ErrPrecondition, "cannot %s container %s: it is %s", verb, row.Name, StateName(row.State))
	}
	c.standsStill()
	if err := do(ctx, c.id); err != nil {
		return err
	}
	e.cfg.FaultPoint(verb + ".kernel")
	if err := c.update(func(row *api.Container) { row.State = to }); err != nil {
		return err
	}
	e.cfg.FaultPoint(verb + ".row")
	e.emit(c, verb, nil)
	return nil
}

// StateName is how a state is shown: created, running, paused, exited, dead, restarting.
func StateName(s api.ContainerState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "CONTAINER_"))
}
