//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/archive"
	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/proto/api"
)

// inPrivateMounts mounts a stopped container's volumes and binds where they belong, in a mount namespace that lives as long
// as f runs: nothing of it is seen outside, or left after a crash.
func (e *Engine) inPrivateMounts(c *container, f func(*archive.Root) error) error {
	return thread.Spend(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		return withRoot(e.rootfs(c.id), usersOf(c.get(), false), func(root *archive.Root) error {
			if err := e.mountInside(c, root); err != nil {
				return err
			}
			e.cfg.FaultPoint("view.inside")
			return f(root)
		})
	})
}

func (e *Engine) mountInside(c *container, root *archive.Root) error {
	row := c.get()
	points := slices.Clone(row.Mounts)
	slices.SortFunc(points, func(a, b *api.MountPoint) int { return strings.Compare(a.Destination, b.Destination) })
	for _, p := range points {
		if err := bindInside(root, p); err != nil {
			return fmt.Errorf("mount %s: %w", p.Destination, err)
		}
	}
	if row.Spec.GetReadOnly() {
		return readOnly(e.rootfs(c.id))
	}
	return nil
}

// bindInside mounts what is a bind. A directory to mount on is made as the first start would make it.
func bindInside(root *archive.Root, p *api.MountPoint) error {
	if p.Type == "tmpfs" {
		return nil
	}
	source, err := openSource(p)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := targetOf(root, p.Destination, source)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, archive.ErrNotDirectory) {
		return nil
	}
	if err != nil {
		return err
	}
	defer target.Close()
	flags := uintptr(unix.MS_BIND | unix.MS_REC)
	if asked(p).NonRecursive {
		flags = unix.MS_BIND
	}
	if err := unix.Mount(threadPath(source), threadPath(target), "", flags, ""); err != nil || !p.ReadOnly {
		return err
	}
	mounted, err := root.Find(p.Destination)
	if err != nil {
		return err
	}
	defer mounted.Close()
	return readOnly(threadPath(mounted))
}

func targetOf(root *archive.Root, dest string, source *os.File) (*os.File, error) {
	target, err := root.Find(dest)
	if st, e := source.Stat(); !errors.Is(err, fs.ErrNotExist) || e != nil || !st.IsDir() {
		return target, err
	}
	if err := root.MkdirAll(dest); err != nil {
		return nil, err
	}
	return root.Find(dest)
}

// threadPath is a path to an open file that is good in the calling thread's namespaces.
func threadPath(f interface{ Fd() uintptr }) string {
	return fmt.Sprintf("/proc/self/task/%d/fd/%d", unix.Gettid(), f.Fd())
}

func readOnly(path string) error {
	return unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}
