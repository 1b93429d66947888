//go:build linux

package engine

import (
	"context"
	"os"
	"path/filepath"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

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
