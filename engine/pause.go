//go:build linux

package engine

import (
	"context"

	"github.com/shoal-dev/shoal/proto/api"
)

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
		return errorf(ErrPrecondition, "cannot %s container %s: it is %s", verb, row.Name, stateName(row.State))
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
