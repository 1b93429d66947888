//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// recover makes the host agree with the rows: finish what was being made or removed, adopt what runs, write down what
// ended meanwhile, and sweep away what belongs to no row.
func (e *Engine) recover(ctx context.Context) error {
	if err := e.load(); err != nil {
		return err
	}
	states, err := e.cfg.Runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("list running containers: %w", err)
	}
	found := map[string]runtime.State{}
	for _, s := range states {
		found[s.ID] = s
	}
	for _, c := range e.all() {
		e.adopt(ctx, c, found[c.id])
	}
	e.sweep(ctx, states)
	e.sweepLogs()
	if err := e.cfg.Images.Recover(ctx); err != nil {
		e.log.Error("what belongs to no image was not removed", "error", err)
	}
	e.finishUpdates(ctx)
	e.reconcileVolumes(ctx)
	return e.reconcileNetworks(ctx)
}

// reconcileVolumes unmounts volumes that nobody uses. A plugin that does not answer must not keep the daemon from starting:
// Run tries again.
func (e *Engine) reconcileVolumes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := e.cfg.Volumes.Reconcile(ctx, e.known); err != nil {
		e.log.Error("volumes are not as they should be", "error", err)
	}
}

// load reads every row. What was half made or half removed is released.
func (e *Engine) load() error {
	root := filepath.Join(e.cfg.DataDir, rowDirectory)
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("read containers: %w", err)
	}
	var halves []*container
	for _, entry := range entries {
		dir := filepath.Join(root, entry.Name())
		c, err := loadContainer(dir)
		half := strings.Contains(entry.Name(), ".") || isTorn(dir)
		switch {
		case err != nil && half:
			os.RemoveAll(dir) // torn before its first step: it holds nothing
		case err != nil:
			e.log.Error("container's row cannot be read, leaving it alone", "container", entry.Name(), "error", err)
		case half:
			c.dir = dir
			halves = append(halves, c)
		default:
			e.enlist(c)
		}
	}
	for _, c := range halves {
		_, err := os.Stat(filepath.Join(c.dir, volumesMarker))
		if err := e.finishRemoval(c, err == nil || strings.HasSuffix(c.dir, creatingExt)); err != nil {
			e.log.Error("half made container was not released", "container", c.id, "error", err)
		}
	}
	return nil
}

// enlist takes up a container whose row is whole, with all that nobody else may have now.
func (e *Engine) enlist(c *container) {
	c.dir = e.rowDir(c.id)
	if err := c.settle(); err != nil {
		e.log.Error("container's row was not settled", "container", c.id, "error", err)
	}
	row := c.get()
	e.containers[c.id] = c
	e.names[row.Name] = c.id
	e.cfg.Labels.Reserve(labelsOf(row))
	if row.UsernsSize > 0 && row.UsernsBase != usersFirst {
		e.users[row.UsernsBase] = c.id
	}
}

// adopt brings one row and what the runtime says together.
func (e *Engine) adopt(ctx context.Context, c *container, s runtime.State) {
	row := c.get()
	switch {
	case s.Status == runtime.Running || s.Status == runtime.Paused:
		if err := e.readopt(ctx, c, s); err != nil {
			e.log.Error("row was not written", "container", c.id, "error", err)
		}
	case active(row.State) && s.Status == runtime.Stopped && s.Exit != nil:
		e.exited(c, *s.Exit)
	case active(row.State):
		e.exited(c, lostExit(nil))
	case s.Status == runtime.Stopped && s.Exit != nil && s.Exit.Error == "" && s.StartedAt.After(row.StartedAt.AsTime()):
		// The daemon died between the start and writing it down, and the container ended since.
		e.exited(c, *s.Exit)
	default:
		e.releaseIdle(c)
		e.removeEnded(c)
	}
}

// removeEnded removes a container that was to go at its end, when the daemon died in between.
func (e *Engine) removeEnded(c *container) {
	row := c.get()
	ended := row.State == api.ContainerState_EXITED || row.State == api.ContainerState_CREATED && row.FinishedAt != nil // its start failed
	if !row.AutoRemove || !ended {
		return
	}
	if err := e.removeLocked(c, true); err != nil {
		e.log.Error("container was not removed", "container", c.id, "error", err)
	}
}

// readopt takes over a container that went on running without a daemon.
func (e *Engine) readopt(ctx context.Context, c *container, s runtime.State) error {
	row := c.get()
	if row.State != api.ContainerState_PAUSED {
		e.thaw(ctx, c, &s)
	}
	stopped := row.StoppedByUser && active(row.State)
	if err := e.started(c, s); err != nil {
		return err
	}
	if stopped {
		if err := c.update(func(row *api.Container) { row.StoppedByUser = true }); err != nil {
			return err
		}
	}
	e.adoptVolumes(c)
	e.startHealth(c)
	return nil
}

// thawWait is how long processes may take to go on.
const thawWait = 2 * time.Second

// thaw lets a container go on that its row does not call paused: the daemon died while it stood still for a commit, or before its
// pause was written down. Processes may stand still although the container as a whole does not yet.
func (e *Engine) thaw(ctx context.Context, c *container, s *runtime.State) {
	ctx, cancel := context.WithTimeout(ctx, thawWait)
	defer cancel()
	err := e.cfg.Runtime.Resume(ctx, c.id)
	switch {
	case err == nil:
		s.Status = runtime.Running
	case s.Status == runtime.Paused:
		e.log.Error("container stands still although it is not paused", "container", c.id, "error", err)
	}
}

// releaseIdle gives back what a start that was cut off left. A task's namespaces wait for its start.
func (e *Engine) releaseIdle(c *container) {
	steps := e.startSteps()
	if row := c.get(); row.NetworkMode == NetworkExternal && row.State == api.ContainerState_CREATED {
		steps = steps[len(e.namespaceSteps()):]
	}
	e.release(c, steps)
}

// known says whether a row owns id, readable or not.
func (e *Engine) known(id string) bool {
	e.mu.Lock()
	c := e.containers[id]
	e.mu.Unlock()
	if c != nil {
		return true
	}
	_, err := os.Lstat(e.rowDir(id))
	return err == nil
}

// sweep removes what belongs to no row, whoever made it.
func (e *Engine) sweep(ctx context.Context, states []runtime.State) {
	for _, s := range states {
		if !e.known(s.ID) {
			e.sweepOne("process", s.ID, e.deleteProcesses(ctx, s.ID))
		}
	}
	for _, dir := range []string{"bundles", "netns", "userns"} {
		entries, err := os.ReadDir(filepath.Join(e.cfg.RunDir, dir))
		if err != nil {
			e.log.Error("sweep", "error", err)
			continue
		}
		for _, entry := range entries {
			if id := entry.Name(); !e.known(id) {
				c := newContainer(e.rowDir(id), &api.Container{Id: id}, nil, &Image{})
				e.sweepOne(dir, id, e.releaseShm(ctx, c))
				e.sweepOne(dir, id, e.releaseBinds(ctx, c))
				e.sweepOne(dir, id, e.releaseRootfs(ctx, c))
				e.sweepOne(dir, id, e.releaseNetNS(ctx, c))
				e.sweepOne(dir, id, e.releaseUserNS(ctx, c))
			}
		}
	}
	snapshots, err := e.cfg.Snapshots.List(ctx)
	if err != nil {
		e.log.Error("sweep", "error", err)
	}
	for _, s := range snapshots {
		if s.Active && isID(s.Key) && !e.known(s.Key) {
			e.sweepOne("snapshot", s.Key, e.cfg.Snapshots.Remove(ctx, s.Key))
		}
	}
}

func (e *Engine) sweepOne(what, id string, err error) {
	if err != nil {
		e.log.Error("leftover was not removed", "what", what, "container", id, "error", err)
		return
	}
	e.log.Debug("leftover removed", "what", what, "container", id)
}
