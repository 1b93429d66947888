//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// Network modes of a container. Networks of its own, or container:ID, are the other possibilities.
const (
	NetworkBridge   = "bridge"
	NetworkHost     = "host"
	NetworkNone     = "none"
	NetworkExternal = "external" // a namespace that the caller fills between Create and Start
)

// CreateOptions describe a container to be.
type CreateOptions struct {
	Request *api.CreateContainerRequest
	TaskID  string // of the service task that this is, if any
	ID      string // 64 hexadecimal digits; "" makes one
}

// Create makes a container that is ready to start. With network mode "external" its Netns is there when Create
// returns. On error, or when the daemon dies on the way, nothing is left.
func (e *Engine) Create(ctx context.Context, o CreateOptions) (*api.Container, error) {
	req := proto.CloneOf(o.Request)
	if req.GetSpec() == nil {
		return nil, errorf(ErrInvalid, "create container: no spec given")
	}
	image, err := e.resolve(ctx, req.Spec.Image)
	if err != nil {
		return nil, err
	}
	row, err := e.newRow(ctx, req, o, image)
	if err != nil {
		return nil, err
	}
	if err := e.reserveName(row); err != nil {
		e.cfg.Labels.Release(labelsOf(row))
		return nil, err
	}
	c := newContainer(e.rowDir(row.Id)+creatingExt, row, req, image)
	e.beginMaking(c)
	err = e.networksStay(row)
	if err == nil {
		err = e.make(ctx, c)
	}
	if err != nil {
		e.abandon(c)
		return nil, fmt.Errorf("create container %s: %w", row.Name, err)
	}
	e.mu.Lock()
	e.containers[c.id] = c
	delete(e.making, c.id)
	e.mu.Unlock()
	e.emit(c, "create", nil)
	return c.get(), nil
}

// networksStay looks once more for a container's networks: from now on nobody removes them, but somebody may have since they
// were checked.
func (e *Engine) networksStay(row *api.Container) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	return e.cfg.Networks.Check(row.Networks, nil)
}

// make prepares what a created container holds and commits it by renaming its directory.
func (e *Engine) make(ctx context.Context, c *container) error {
	if err := os.MkdirAll(c.dir, 0o710); err != nil {
		return err
	}
	if err := c.saveNew(); err != nil {
		return err
	}
	e.cfg.FaultPoint("create.row")
	if err := e.prepare(ctx, c, "create", e.createSteps()); err != nil {
		return err
	}
	if c.get().NetworkMode == NetworkExternal {
		if err := e.prepareUserNS(ctx, c); err != nil {
			return err
		}
		if err := e.prepareNetNS(ctx, c); err != nil {
			return err
		}
	}
	e.cfg.FaultPoint("create.netns")
	if err := c.rename(e.rowDir(c.id)); err != nil {
		return err
	}
	c.dir = e.rowDir(c.id)
	e.cfg.FaultPoint("create.commit")
	return nil
}

// beginMaking notes a container that is not whole yet, so that nobody removes its volumes.
func (e *Engine) beginMaking(c *container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.making[c.id] = c
}

func (e *Engine) endMaking(c *container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.making, c.id)
}

// abandon undoes a Create that failed.
func (e *Engine) abandon(c *container) {
	e.releaseNetNS(e.ctx, c)
	e.releaseUserNS(e.ctx, c)
	err := e.release(c, e.createSteps())
	e.endMaking(c)
	e.cfg.Labels.Release(labelsOf(c.get()))
	if err == nil {
		e.removeAnonymousVolumes(c)
		os.RemoveAll(c.dir)
	}
	e.mu.Lock()
	delete(e.names, c.get().Name)
	e.forgetUsers(c.get())
	e.mu.Unlock()
}

// reserveName takes the name asked for, or makes one up.
func (e *Engine) reserveName(row *api.Container) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if row.Name == "" {
		row.Name = e.freeName()
	}
	if owner, taken := e.names[row.Name]; taken {
		return errorf(ErrExists, "the container name %q is in use by container %.12s: remove or rename that one, or choose another name", row.Name, owner)
	}
	if e.containers[row.Id] != nil {
		return errorf(ErrExists, "container %s exists", row.Id)
	}
	if err := e.chooseUsers(row); err != nil {
		return err
	}
	e.names[row.Name] = row.Id
	return nil
}
