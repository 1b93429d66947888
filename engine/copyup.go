//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// fillUnstarted fills the volumes of a container that never ran, as its start would.
func (e *Engine) fillUnstarted(ctx context.Context, c *container) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.get().State != api.ContainerState_CREATED || len(volumesOf(c.get())) == 0 {
		return nil
	}
	err := e.mountVolumes(ctx, c)
	if err == nil {
		err = os.MkdirAll(e.rootfs(c.id), 0o710)
	}
	if err == nil {
		err = e.fillVolumes(ctx, c)
	}
	e.cfg.FaultPoint("inherit.filled")
	return errors.Join(err, e.releaseRootfs(ctx, c), e.unmountVolumes(ctx, c))
}

// copyUp fills volumes that are empty with what the image has at their mount points.
func (e *Engine) copyUp(ctx context.Context, c *container) error {
	for _, p := range c.get().Mounts {
		m := asked(p)
		if p.Type != "volume" || m.NoCopy || m.Subpath != "" || !emptyDir(p.Source) {
			continue
		}
		from, err := inRoot(e.rootfs(c.id), p.Destination)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find %s in the image: %w", p.Destination, err)
		}
		if st, err := from.Stat(); err != nil || !st.IsDir() {
			from.Close()
			continue
		}
		err = e.cfg.Volumes.CopyUp(ctx, p.Name, fmt.Sprintf("/proc/self/fd/%d", from.Fd()))
		from.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func emptyDir(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}
