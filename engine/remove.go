//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// Remove deletes a container and all that it held. Force kills it first, and lets nobody start it any more. Volumes also removes
// its anonymous volumes.
func (e *Engine) Remove(ctx context.Context, ref string, force, volumes bool) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if force {
		c.removing(1)
		defer c.removing(-1)
	}
	ctx, cancel := e.own(ctx)
	defer cancel()
	for { // twice if a start was under way
		if err := e.stopToRemove(ctx, c, force); err != nil {
			return err
		}
		if started, err := e.removeStopped(ctx, c, volumes); !started || !force {
			return err
		}
	}
}

func (c *container) removing(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removals += n
}

func (c *container) isBeingRemoved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removals > 0
}

func (e *Engine) stopToRemove(ctx context.Context, c *container, force bool) error {
	row := c.get()
	if !active(row.State) && row.State != api.ContainerState_RESTARTING {
		return nil
	}
	if !force {
		return errorf(ErrPrecondition, "container %s is %s: stop it first, or remove it by force", row.Name, stateName(row.State))
	}
	now := time.Duration(0)
	return e.stop(ctx, c, &now, "")
}

// removeStopped removes a container unless somebody has started it meanwhile, which is an error, too.
func (e *Engine) removeStopped(ctx context.Context, c *container, volumes bool) (started bool, err error) {
	if err := c.lock(ctx); err != nil {
		return false, err
	}
	defer c.unlock()
	switch row := c.get(); {
	case c.isRemoved():
		return false, nil // somebody else was faster, or it was to be removed at its end
	case active(row.State):
		return true, errorf(ErrPrecondition, "container %s was started meanwhile: stop it first", row.Name)
	}
	return false, e.removeLocked(c, volumes)
}

// removeLocked deletes a container that does not run. The directory is renamed first: a daemon that dies after that
// finishes the removal when it starts again. c.op is held.
func (e *Engine) removeLocked(c *container, volumes bool) error {
	c.stopRestarting()
	removing := e.rowDir(c.id) + removingExt
	if !strings.HasSuffix(c.dir, removingExt) {
		if volumes {
			if err := os.WriteFile(c.dir+"/"+volumesMarker, nil, rowFilePerm); err != nil {
				return err
			}
		}
		e.cfg.FaultPoint("remove.marked")
		if err := c.rename(removing); err != nil {
			return fmt.Errorf("remove container: %w", err)
		}
		c.mu.Lock()
		c.dir = removing
		c.mu.Unlock()
	}
	e.cfg.FaultPoint("remove.renamed")
	if err := e.finishRemoval(c, volumes); err != nil {
		c.update(func(row *api.Container) { row.State, row.Error = api.ContainerState_DEAD, err.Error() })
		return fmt.Errorf("remove container %s: %w", c.get().Name, err)
	}
	e.forget(c)
	if id := c.get().ImageId; !e.cfg.Images.Has(id) { // removed by force: its layers were kept for this container
		if err := e.cfg.Images.Collect(e.ctx); err != nil {
			e.log.Error("the layers of a removed image are still there", "image", id, "error", err)
		}
	}
	return nil
}

// volumesMarker in a directory being removed says that the anonymous volumes go as well.
const volumesMarker = "volumes"

func (e *Engine) finishRemoval(c *container, volumes bool) error {
	if err := e.release(c, append(e.createSteps(), e.startSteps()...)); err != nil {
		return err
	}
	e.cfg.FaultPoint("remove.released")
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	if volumes {
		if err := e.removeAnonymousVolumes(c); err != nil {
			return err
		}
	}
	e.cfg.FaultPoint("remove.volumes")
	return os.RemoveAll(c.dir)
}

// forget takes a container out of memory, tells of it and wakes those who wait for that, in this order.
func (e *Engine) forget(c *container) {
	e.mu.Lock()
	delete(e.containers, c.id)
	e.forgetUsers(c.get())
	e.cfg.Labels.Release(labelsOf(c.get()))
	if e.names[c.get().Name] == c.id {
		delete(e.names, c.get().Name)
	}
	e.mu.Unlock()
	e.emit(c, "destroy", nil)
	c.mu.Lock()
	c.removed = true
	c.notify()
	c.mu.Unlock()
	c.failWaiting(errorf(ErrNotFound, "container %s was removed", c.get().Name))
}
