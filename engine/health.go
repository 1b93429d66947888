//go:build linux

package engine

import (
	"context"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// Health of a container with a check.
const (
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

// What a check leaves open.
const (
	healthInterval = 30 * time.Second
	healthTimeout  = 30 * time.Second
	healthRetries  = 3
	healthLogSize  = 5
	healthOutput   = 4096 // bytes kept of a check's output
)

// check is a health check with nothing left open.
type check struct {
	command                                       []string
	interval, timeout, startPeriod, startInterval time.Duration
	retries                                       int
}

// healthCheck merges a container's check over its image's; nil if there is none.
func healthCheck(s *api.ContainerSpec, image *api.HealthConfig) (*check, error) {
	h := s.GetHealthcheck()
	test := h.GetTest()
	if len(test) == 0 {
		test = image.GetTest()
	}
	c := &check{
		interval:      pick(h.GetInterval().AsDuration(), image.GetInterval().AsDuration(), healthInterval),
		timeout:       pick(h.GetTimeout().AsDuration(), image.GetTimeout().AsDuration(), healthTimeout),
		startPeriod:   pick(h.GetStartPeriod().AsDuration(), image.GetStartPeriod().AsDuration(), 0),
		startInterval: pick(h.GetStartInterval().AsDuration(), image.GetStartInterval().AsDuration(), 5*time.Second),
		retries:       int(pick(time.Duration(h.GetRetries()), time.Duration(image.GetRetries()), healthRetries)),
	}
	if c.interval < 0 || c.timeout < 0 || c.startPeriod < 0 || c.startInterval < 0 || c.retries < 0 {
		return nil, errorf(ErrInvalid, "health check: times and retries cannot be negative")
	}
	for _, d := range []time.Duration{c.interval, c.timeout, c.startPeriod, c.startInterval} {
		if d > 0 && d < time.Millisecond {
			return nil, errorf(ErrInvalid, "health check: %v is too short: times begin at 1ms", d)
		}
	}
	if len(test) == 0 {
		return nil, nil
	}
	switch test[0] {
	case "NONE":
		return nil, nil
	case "CMD":
		c.command = test[1:]
	case "CMD-SHELL":
		c.command = []string{"/bin/sh", "-c", strings.Join(test[1:], " ")}
	default:
		return nil, errorf(ErrInvalid, "health check: test begins with %q, not with NONE, CMD or CMD-SHELL", test[0])
	}
	if len(test) < 2 {
		return nil, errorf(ErrInvalid, "health check: %s names no command", test[0])
	}
	return c, nil
}

func pick(values ...time.Duration) time.Duration {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

// startHealth begins the checks of a run.
func (e *Engine) startHealth(c *container) {
	row := c.get()
	h, err := healthCheck(row.Spec, c.img.Health)
	if err != nil || h == nil {
		return
	}
	ctx, cancel := context.WithCancel(e.ctx)
	c.mu.Lock()
	if c.endHealth != nil {
		c.endHealth()
	}
	c.endHealth = cancel
	c.mu.Unlock()
	if row.Health == "" {
		e.setHealth(c, HealthStarting, 0, nil)
	}
	e.start(func(context.Context) { e.runHealth(ctx, c, h) })
}

func (c *container) stopHealth() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endHealth != nil {
		c.endHealth()
		c.endHealth = nil
	}
}

// runHealth checks until the run ends. During the start period failures do not count and checks come faster.
func (e *Engine) runHealth(ctx context.Context, c *container, h *check) {
	begun := c.get().StartedAt.AsTime()
	failing := int(c.get().FailingStreak) // with a daemon before this one
	for {
		wait := h.interval
		starting := c.get().Health == HealthStarting && time.Since(begun) < h.startPeriod
		if starting {
			wait = min(h.startInterval, h.interval)
		}
		if pause.For(ctx, wait) != nil {
			return
		}
		pauses := c.timesPaused()
		if c.get().State == api.ContainerState_PAUSED {
			continue
		}
		result := e.probe(ctx, c, h)
		if ctx.Err() != nil {
			return
		}
		if result.ExitCode != 0 && c.timesPaused() != pauses {
			continue // the check may have stood still for longer than it may take
		}
		health := c.get().Health
		switch {
		case result.ExitCode == 0:
			failing, health = 0, HealthHealthy
		case health == HealthStarting && time.Since(begun) < h.startPeriod:
		default:
			if failing++; failing >= h.retries {
				health = HealthUnhealthy
			}
		}
		e.setHealth(c, health, failing, result)
	}
}

// setHealth writes a result down, and tells about it when the health has changed.
func (e *Engine) setHealth(c *container, health string, failing int, result *api.HealthResult) {
	changed := false
	err := c.update(func(row *api.Container) {
		if !active(row.State) {
			return // it has ended meanwhile
		}
		changed = row.Health != health
		row.Health = health
		row.FailingStreak = int32(failing)
		if result != nil {
			row.HealthLog = append(row.HealthLog, result)
			row.HealthLog = row.HealthLog[max(0, len(row.HealthLog)-healthLogSize):]
		}
	})
	if err != nil {
		e.log.Error("row was not written", "container", c.id, "error", err)
	}
	if changed {
		e.emit(c, "health_status", map[string]string{"health": health})
	}
}
