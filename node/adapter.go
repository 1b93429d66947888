//go:build linux

package node

import (
	"context"
	"errors"

	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/proto/api"
)

// engineAdapter shows the engine to the agent as the agent asked for it.
type engineAdapter struct{ e *engine.Engine }

func (a engineAdapter) Create(ctx context.Context, taskID string, req *api.CreateContainerRequest) (*api.Container, error) {
	return a.e.Create(ctx, engine.CreateOptions{Request: req, TaskID: taskID})
}

func (a engineAdapter) Start(ctx context.Context, id string) error { return a.e.Start(ctx, id) }

func (a engineAdapter) Stop(ctx context.Context, id string) error {
	return ignore(a.e.Stop(ctx, id, nil, ""), engine.ErrNotFound)
}

func (a engineAdapter) Kill(ctx context.Context, id string) error {
	return ignore(a.e.Kill(ctx, id, "SIGKILL"), engine.ErrNotFound, engine.ErrPrecondition)
}

func (a engineAdapter) Remove(ctx context.Context, id string) error {
	return ignore(a.e.Remove(ctx, id, true, true), engine.ErrNotFound)
}

func (a engineAdapter) Get(ctx context.Context, id string) (*api.Container, error) {
	c, err := a.e.Inspect(ctx, id)
	return c, ignore(err, engine.ErrNotFound)
}

func (a engineAdapter) Tasks(ctx context.Context) ([]*api.Container, error) {
	all, err := a.e.List(ctx, &api.ListContainersRequest{All: true})
	if err != nil {
		return nil, err
	}
	var tasks []*api.Container
	for _, c := range all {
		if c.TaskId != "" {
			tasks = append(tasks, c)
		}
	}
	return tasks, nil
}

func (a engineAdapter) OfTask(ctx context.Context, taskID string) (*api.Container, error) {
	all, err := a.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.TaskId == taskID {
			return c, nil
		}
	}
	return nil, nil
}

// Change waits for the end of a container or a change of its health. Events are only a reason to look at the row
// again: after each of them, and after each new subscription.
func (a engineAdapter) Change(ctx context.Context, id, health string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := a.e.Events(ctx)
	for {
		c, err := a.Get(ctx, id)
		if err != nil || c == nil {
			return err
		}
		alive := c.State == api.ContainerState_CONTAINER_RUNNING || c.State == api.ContainerState_PAUSED || c.State == api.ContainerState_RESTARTING
		if !alive || c.Health != health {
			return nil
		}
		if !nextAbout(events, id) {
			if err := ctx.Err(); err != nil {
				return err
			}
			events = a.e.Events(ctx) // cut off for reading too slowly
		}
	}
}

// nextAbout waits for an event of a container; false: there will be no more.
func nextAbout(events <-chan engine.Event, id string) bool {
	for e := range events {
		if e.Container.GetId() == id {
			return true
		}
	}
	return false
}

func (a engineAdapter) Logs(ctx context.Context, id string, o *api.LogOptions, emit func(*api.LogLine) error) error {
	return a.e.Logs(ctx, id, o, emit)
}

func (a engineAdapter) HasImage(ctx context.Context, ref string) (bool, error) {
	return a.e.HasImage(ctx, ref)
}

func (a engineAdapter) Pull(ctx context.Context, ref string) error { return a.e.PullImage(ctx, ref) }

// ignore turns expected errors into none.
func ignore(err error, expected ...error) error {
	for _, e := range expected {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
