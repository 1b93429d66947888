//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/snapshot"
)

// prepareShm makes a /dev/shm that other containers may join.
func (e *Engine) prepareShm(_ context.Context, c *container) error {
	if c.get().Spec.GetIpcMode() != "shareable" {
		return nil
	}
	dir := e.shmDir(c.id)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if mounted(dir) {
		return nil
	}
	options := fmt.Sprintf("mode=1777,size=%d", shmSize(c.get().Spec)) + snapshot.ContextOption(c.get().MountLabel)
	return unix.Mount("shm", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, options)
}

func (e *Engine) releaseShm(_ context.Context, c *container) error { return unmount(e.shmDir(c.id)) }
