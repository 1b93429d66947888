//go:build linux

package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// watch waits for a container's end, once for each of its runs.
func (e *Engine) watch(ctx context.Context, c *container) {
	exit, err := e.awaitExit(ctx, c.id)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		exit = lostExit(err)
	}
	if c.lock(ctx) != nil {
		return
	}
	defer c.unlock()
	if c.isRemoved() || !active(c.get().State) {
		return
	}
	e.exited(c, exit)
}

// askAgain is how long to wait before asking about a container's end once more.
const askAgain = time.Second

// awaitExit waits for a container's end. That this daemon cannot ask at the moment, because it has no descriptor left for example,
// says nothing about the container.
func (e *Engine) awaitExit(ctx context.Context, id string) (runtime.Exit, error) {
	for {
		exit, err := e.cfg.Runtime.Wait(ctx, id)
		if !mayPass(err) {
			return exit, err
		}
		e.log.Warn("container's end cannot be waited for now, will try again", "container", id, "error", err)
		if err := pause.For(ctx, askAgain); err != nil {
			return exit, err
		}
	}
}

// mayPass tells errors of this machine's present state.
func mayPass(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lostExit is the end of a container whose supervisor is gone: killed, or before a reboot.
func lostExit(err error) runtime.Exit {
	msg := "its supervisor is gone (killed, or the host was restarted): the exit code is unknown"
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		msg += ": " + err.Error()
	}
	return runtime.Exit{Code: 255, At: time.Now(), Error: msg}
}

// exited writes down an end, gives back what the container held, and restarts or removes it if that is its policy.
// c.op is held.
func (e *Engine) exited(c *container, exit runtime.Exit) {
	c.stopHealth()
	before := c.get()
	restart, delay := e.restartDecision(c, exit)
	e.finishRun(c, exit, func(row *api.Container) {
		row.State = api.ContainerState_EXITED
		if restart {
			row.State = api.ContainerState_RESTARTING
		}
		row.Pid = 0
		row.ExitCode, row.OomKilled, row.Error = int32(exit.Code), exit.OOMKilled, exit.Error
		row.FinishedAt = timestamppb.New(exit.At)
		row.Health = ""
	})
	e.refreshLinks(c.id)
	e.publishEnd(c, exit)
	switch {
	case restart:
		e.scheduleRestart(c, delay, true)
	case before.AutoRemove:
		if err := e.removeLocked(c, true); err != nil {
			e.log.Error("container was not removed", "container", c.id, "error", err)
		}
	}
}

// finishRun releases what a run held, writes its end into the journal and tells those who wait for the end, in this order: whoever
// has waited finds the events. end is how the row changes.
func (e *Engine) finishRun(c *container, exit runtime.Exit, end func(*api.Container)) {
	before := c.get()
	// Written down before anything is released: that takes the runtime's own note of the end with it.
	err := c.noteEnd(end)
	e.cfg.FaultPoint("end.noted")
	left := e.release(c, e.startSteps())
	e.announceEnd(c, before, exit)
	err = errors.Join(err, left, c.update(func(row *api.Container) {
		end(row)
		if left != nil && row.Error == "" {
			row.Error = left.Error()
		}
		c.end(row)
	}))
	e.cfg.FaultPoint("end.row")
	if err != nil {
		e.log.Error("container's end was not handled completely", "container", c.id, "error", err)
	}
}

// endings are the events of an end, in order.
func endings(before *api.Container, exit runtime.Exit) []Event {
	ran := max(0, exit.At.Sub(before.StartedAt.AsTime()))
	die := Event{Action: "die", Attributes: map[string]string{
		"exitCode": strconv.Itoa(exit.Code), "execDuration": strconv.Itoa(int(ran.Seconds())),
	}}
	if exit.OOMKilled {
		return []Event{{Action: "oom"}, die}
	}
	return []Event{die}
}

// announceEnd writes an end into the journal; before is the row of the run.
func (e *Engine) announceEnd(c *container, before *api.Container, exit runtime.Exit) {
	for _, ev := range endings(before, exit) {
		e.announceContainer(before, ev.Action, ev.Attributes)
	}
	e.announceNetworks(before, "disconnect")
	e.announceVolumes(before, "unmount")
	if c.isStopping() {
		e.announceContainer(before, "stop", nil)
	}
}

// publishEnd tells those of an end who look at the row when they hear of it, and therefore hear of it later than the journal.
func (e *Engine) publishEnd(c *container, exit runtime.Exit) {
	for _, ev := range endings(c.get(), exit) {
		e.publish(c.get(), ev.Action, ev.Attributes)
	}
}
