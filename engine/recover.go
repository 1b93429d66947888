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
