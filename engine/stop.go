//go:build linux

package engine

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// defaultStopTimeout is the grace between the stop signal and SIGKILL.
const defaultStopTimeout = 10 * time.Second

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
		if err := e.signalTold(ctx, c, sig); err != nil {
			return err
		}
		if err := e.waitEnd(ctx, c, run, grace); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
	if err := e.signalTold(ctx, c, syscall.SIGKILL); err != nil {
		return err
	}
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
		return defaultStopTimeout
	}
}

// waitEnd waits for a run to be over and cleaned up, and for all that follows from that to be done and told: files of containers
// that link to it, events. A negative time waits for ever.
func (e *Engine) waitEnd(ctx context.Context, c *container, run int, d time.Duration) error {
	limited := ctx
	if d >= 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if _, err := c.awaitEnd(limited, run); err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil { // which exited holds
		return err
	}
	c.unlock()
	return nil
}

func (e *Engine) requireRunning(c *container) error {
	if row := c.get(); !active(row.State) {
		return errorf(ErrPrecondition, "container %s is not running", row.Name)
	}
	return nil
}

// stateName is how a state is shown: created, running, paused, exited, dead, restarting.
func stateName(s api.ContainerState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "CONTAINER_"))
}
