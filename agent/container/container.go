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
	"time"

	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

// Engine is what the agent needs of the node's container engine. Package node makes one of an engine.Engine.
// IDs are container IDs. Rows that it returns are not changed by either side.
type Engine interface {
	// Create makes a container that is marked with its task. Nothing is left behind on error.
	Create(ctx context.Context, taskID string, req *api.CreateContainerRequest) (*api.Container, error)
	Start(ctx context.Context, id string) error
	// Stop sends the container's stop signal and kills it after its grace period. Stopping a stopped one is no error.
	Stop(ctx context.Context, id string) error
	// Kill ends a container now.
	Kill(ctx context.Context, id string) error
	// Remove kills and removes a container with its anonymous volumes; one that is not there is no error.
	Remove(ctx context.Context, id string) error
	// Get returns nil for a container that does not exist.
	Get(ctx context.Context, id string) (*api.Container, error)
	// OfTask returns a task's container, nil if it has none.
	OfTask(ctx context.Context, taskID string) (*api.Container, error)
	// Tasks lists every container that belongs to a task.
	Tasks(ctx context.Context) ([]*api.Container, error)
	// Change blocks until the container has ended, is gone, or its health differs from the one given.
	Change(ctx context.Context, id, health string) error
	// Logs calls emit for each line; with Follow until the container ends.
	Logs(ctx context.Context, id string, o *api.LogOptions, emit func(*api.LogLine) error) error
	HasImage(ctx context.Context, ref string) (bool, error)
	// Pull fetches an image from its registry.
	Pull(ctx context.Context, ref string) error
}

// Overlay is what a Controller needs of the overlay. *overlay.Overlay is one.
type Overlay interface {
	Attach(ctx context.Context, a overlay.Attachment) error
	Detach(ctx context.Context, id string) error
}

// ImageSource brings an image to this node from other nodes of the cluster. It is asked before any registry.
type ImageSource interface {
	// Fetch returns false if no other node has the image.
	Fetch(ctx context.Context, ref string) (bool, error)
}

// Node is what containers may learn of the node they are on.
type Node struct {
	ID       string
	Hostname string
}

// Deps are what all controllers of a node share.
type Deps struct {
	Engine  Engine
	Overlay Overlay
	Images  ImageSource // nil: registries only
	Node    func() Node
	// Nameservers returns the addresses where the DNS server answers a task.
	Nameservers func(*api.Task) []string
	// Slots bounds how many containers are created and started at a time; nil: no bound.
	Slots chan struct{}
}

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

// Exit is how a task's container ended.
type Exit struct {
	Code int
	OOM  bool
	Err  string // why, where the engine knows; or that it is unhealthy
	At   time.Time
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

func (c *Controller) detach(ctx context.Context) error {
	if err := c.deps.Overlay.Detach(ctx, c.id); err != nil {
		return fmt.Errorf("detach container %s from its networks: %w", c.id, err)
	}
	return nil
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

func exit(row *api.Container) Exit {
	return Exit{Code: int(row.ExitCode), OOM: row.OomKilled, Err: row.Error, At: row.FinishedAt.AsTime()}
}
