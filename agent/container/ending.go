//go:build linux

package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// Wait returns how the container ended. An unhealthy one is stopped first.
func (c *Controller) Wait(ctx context.Context) (Exit, error) {
	for {
		row, err := c.row(ctx)
		if errors.Is(err, errGone) {
			return Exit{Code: -1, Err: err.Error(), At: time.Now()}, nil
		}
		if err != nil {
			return Exit{}, err
		}
		if !running(row) {
			return exit(row), c.detach(ctx)
		}
		if row.Health == "unhealthy" {
			return c.unhealthy(ctx, row)
		}
		if err := c.deps.Engine.Change(ctx, c.id, row.Health); err != nil {
			return Exit{}, err
		}
	}
}

func (c *Controller) unhealthy(ctx context.Context, row *api.Container) (Exit, error) {
	why := "the container is unhealthy"
	if n := len(row.HealthLog); n > 0 {
		last := row.HealthLog[n-1]
		why = fmt.Sprintf("the container is unhealthy: check ended with %d: %s", last.ExitCode, firstLine(last.Output))
	}
	if err := c.Shutdown(ctx); err != nil {
		return Exit{}, err
	}
	e := Exit{Code: -1, At: time.Now()}
	if row, err := c.row(ctx); err == nil {
		e = exit(row)
	}
	e.Err = why
	return e, nil
}

// Shutdown stops the container, if there is one, and takes it off its networks: its addresses are free afterwards.
func (c *Controller) Shutdown(ctx context.Context) error {
	return c.end(ctx, c.deps.Engine.Stop)
}

// Terminate is Shutdown without grace.
func (c *Controller) Terminate(ctx context.Context) error {
	return c.end(ctx, c.deps.Engine.Kill)
}

func (c *Controller) end(ctx context.Context, stop func(context.Context, string) error) error {
	row, err := c.row(ctx)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	if running(row) {
		if err := stop(ctx, c.id); err != nil {
			return fmt.Errorf("stop container %s: %w", c.id, err)
		}
	}
	return c.detach(ctx)
}

// Remove removes the container, whatever it does.
func (c *Controller) Remove(ctx context.Context) error {
	row, err := c.row(ctx)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.detach(ctx); err != nil {
		return err
	}
	if err := c.deps.Engine.Remove(ctx, row.Id); err != nil {
		return fmt.Errorf("remove container %s: %w", row.Id, err)
	}
	return nil
}

func (c *Controller) detach(ctx context.Context) error {
	if err := c.deps.Overlay.Detach(ctx, c.id); err != nil {
		return fmt.Errorf("detach container %s from its networks: %w", c.id, err)
	}
	return nil
}

// Exit is how a task's container ended.
type Exit struct {
	Code int
	OOM  bool
	Err  string // why, where the engine knows; or that it is unhealthy
	At   time.Time
}

func exit(row *api.Container) Exit {
	return Exit{Code: int(row.ExitCode), OOM: row.OomKilled, Err: row.Error, At: row.FinishedAt.AsTime()}
}
