//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/shoal-dev/shoal/engine/snapshot"
)

func (e *Engine) prepareRootfs(ctx context.Context, c *container) error {
	if err := os.MkdirAll(e.rootfs(c.id), 0o710); err != nil {
		return err
	}
	users, err := e.openUsers(c.get())
	if err != nil {
		return err
	}
	if users != nil {
		defer users.Close()
		if err := e.fillVolumes(ctx, c); err != nil {
			return err
		}
	}
	view := snapshot.View{Users: users, Label: c.get().MountLabel}
	if err := e.withLayers(ctx, c, func() error { return e.cfg.Snapshots.Mount(ctx, c.id, e.rootfs(c.id), view) }); err != nil {
		return err
	}
	return e.reachable(c.get())
}

// fillVolumes does prepareCopyUp's work for a container with users of its own, on a root file system that still shows the
// owners that volumes have on disk.
func (e *Engine) fillVolumes(ctx context.Context, c *container) error {
	at := e.rootfs(c.id)
	if err := e.cfg.Snapshots.Unmount(ctx, at); err != nil {
		return err
	}
	if err := e.cfg.Snapshots.Mount(ctx, c.id, at, snapshot.View{}); err != nil {
		return err
	}
	return errors.Join(e.copyUp(ctx, c), e.cfg.Snapshots.Unmount(ctx, at))
}

func (e *Engine) prepareCopyUp(ctx context.Context, c *container) error {
	if c.get().UsernsSize > 0 {
		return nil // prepareRootfs has done it
	}
	return e.copyUp(ctx, c)
}

func (e *Engine) releaseRootfs(ctx context.Context, c *container) error {
	if _, err := os.Lstat(e.bundle(c.id)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := e.cfg.Snapshots.Unmount(ctx, e.rootfs(c.id)); err != nil {
		return err
	}
	if left, err := mountsBelow(e.bundle(c.id)); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("still mounted: %s", strings.Join(left, " "))) // removing it would empty what is mounted
	}
	return os.RemoveAll(e.bundle(c.id))
}
