//go:build linux

// Package container maps one task onto one container of the engine.
//
// A Controller is what the agent drives a task with, one step at a time; every step may be repeated, also by a
// daemon that was started after the one that took it: the container is found by its task ID. It translates the
// spec (spec.go), expands templates (template.go) and wires the container to overlay networks. It does not decide
// when to do what, reports nothing and holds no state that the engine does not have.
package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-dev/shoal/proto/api"
)

// Controller drives the container of one task. Its methods are called one at a time.
type Controller struct {
	deps Deps
	task *api.Task
	rev  *api.Revision // nil for a task that is only to be removed
	id   string        // container ID, once known
}

// New returns a Controller; nothing happens before the first call.
func New(deps Deps, task *api.Task, rev *api.Revision) *Controller {
	return &Controller{deps: deps, task: task, rev: rev}
}

// errGone says that the container was removed by somebody else.
var errGone = errors.New("its container has been removed by somebody else")

// Find looks for the task's container and tells whether it was ever started.
func (c *Controller) Find(ctx context.Context) (found, started bool, err error) {
	row, err := c.deps.Engine.OfTask(ctx, c.task.Id)
	if err != nil || row == nil {
		return false, false, err
	}
	c.id = row.Id
	return true, row.State != api.ContainerState_CREATED, nil
}

// Prepare brings the image here and creates the container.
func (c *Controller) Prepare(ctx context.Context) error {
	if c.rev == nil {
		return fmt.Errorf("revision %d of service %s is not known on this node", c.task.Revision, c.task.ServiceName)
	}
	if found, _, err := c.Find(ctx); found || err != nil {
		return err
	}
	req, err := c.request()
	if err != nil {
		return err
	}
	if err := c.image(ctx, req.Spec.Image); err != nil {
		return err
	}
	return c.slot(ctx, func() error {
		row, err := c.deps.Engine.Create(ctx, c.task.Id, req)
		if err == nil {
			c.id = row.Id
		}
		return err
	})
}

// image makes sure of an image: what is here is used, then other nodes are asked, then the registry.
func (c *Controller) image(ctx context.Context, ref string) error {
	if has, err := c.deps.Engine.HasImage(ctx, ref); has || err != nil {
		return err
	}
	if c.deps.Images != nil {
		if got, err := c.deps.Images.Fetch(ctx, ref); got && err == nil {
			return nil
		}
	}
	if err := c.deps.Engine.Pull(ctx, ref); err != nil {
		return fmt.Errorf("image %s is not on this node and pulling it failed: %w", ref, err)
	}
	return nil
}

// Start wires and starts the container. One that was started before is not started again.
func (c *Controller) Start(ctx context.Context) error {
	row, err := c.row(ctx)
	if err != nil || row.State != api.ContainerState_CREATED {
		return err
	}
	return c.slot(ctx, func() error {
		if err := c.Attach(ctx); err != nil {
			return err
		}
		return c.deps.Engine.Start(ctx, c.id)
	})
}

// Attach wires a running or created container to its networks; again after a restart of the daemon.
func (c *Controller) Attach(ctx context.Context) error {
	row, err := c.row(ctx)
	if err != nil {
		return err
	}
	a, err := Attachment(c.task, c.rev, row)
	if err != nil || a == nil {
		return err
	}
	if err := c.deps.Overlay.Attach(ctx, *a); err != nil {
		return fmt.Errorf("attach to its networks: %w", err)
	}
	return nil
}

// Healthy waits until a container with a health check has passed it, or has ended. It returns the health.
func (c *Controller) Healthy(ctx context.Context) (string, error) {
	for {
		row, err := c.row(ctx)
		if err != nil {
			return "", err
		}
		if row.Health != "starting" || !running(row) {
			return row.Health, nil
		}
		if err := c.deps.Engine.Change(ctx, c.id, row.Health); err != nil {
			return "", err
		}
	}
}

// Status is what managers are told of the container; nil if there is none.
func (c *Controller) Status(ctx context.Context) *api.ContainerStatus {
	row, err := c.row(ctx)
	if err != nil {
		return nil
	}
	return &api.ContainerStatus{
		ContainerId: row.Id, Pid: row.Pid, ExitCode: row.ExitCode, OomKilled: row.OomKilled, Health: row.Health,
	}
}

// row returns the container as it is, errGone if it is not there (any more).
func (c *Controller) row(ctx context.Context) (*api.Container, error) {
	if c.id == "" {
		if _, _, err := c.Find(ctx); err != nil {
			return nil, err
		}
	}
	if c.id == "" {
		return nil, errGone
	}
	row, err := c.deps.Engine.Get(ctx, c.id)
	if err == nil && row == nil {
		err = errGone
	}
	return row, err
}

// slot runs fn when not too many others do.
func (c *Controller) slot(ctx context.Context, fn func() error) error {
	if c.deps.Slots == nil {
		return fn()
	}
	select {
	case c.deps.Slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.deps.Slots }()
	return fn()
}

func running(row *api.Container) bool {
	switch row.State {
	case api.ContainerState_CONTAINER_RUNNING, api.ContainerState_PAUSED, api.ContainerState_RESTARTING:
		return true
	}
	return false
}
