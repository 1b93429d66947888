//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/archive"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/proto/api"
)

// withSnapshot calls f with a container's root file system as its snapshot has it, without what is mounted in it.
func (e *Engine) withSnapshot(ctx context.Context, c *container, f func(*archive.Root) error) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	if !active(c.get().State) {
		defer c.unlock()
		return e.whileMounted(ctx, c, func() error { return withRoot(e.rootfs(c.id), usersOf(c.get(), false), f) })
	}
	// A running container is not held up. What is open stays readable if it ends meanwhile.
	root, err := archive.Open(e.rootfs(c.id))
	c.unlock()
	if err != nil {
		return err
	}
	defer root.Close()
	root.Users = usersOf(c.get(), false)
	return f(root)
}

func withRoot(dir string, users archive.Users, f func(*archive.Root) error) error {
	root, err := archive.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	root.Users = users
	return f(root)
}

// usersOf are a container's users; everywhere, if its own mounts are looked at.
func usersOf(row *api.Container, everywhere bool) archive.Users {
	return archive.Users{Base: row.UsernsBase, Size: row.UsernsSize, Everywhere: everywhere}
}

// asRootOf calls f in a thread whose files belong to the container's root: on mounts that show a container's own users the
// host's root is nobody, and can make nothing. It keeps its rights.
func asRootOf(users archive.Users, f func() error) error {
	if users.Size == 0 {
		return f()
	}
	return thread.Spend(func() error {
		unix.Setfsgid(int(users.Base))
		unix.Setfsuid(int(users.Base))
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&header, &caps[0]); err != nil {
			return fmt.Errorf("read capabilities: %w", err)
		}
		for i := range caps {
			caps[i].Effective = caps[i].Permitted
		}
		if err := unix.Capset(&header, &caps[0]); err != nil {
			return fmt.Errorf("keep capabilities: %w", err)
		}
		return f()
	})
}

// whileMounted mounts the root file system of a container that does not run; c.op is held, so nobody starts it.
func (e *Engine) whileMounted(ctx context.Context, c *container, f func() error) error {
	if c.isRemoved() || c.get().State == api.ContainerState_DEAD {
		return errorf(ErrNotFound, "no such container: %s", c.get().Name)
	}
	if err := e.mountPlain(ctx, c); err != nil {
		return err
	}
	e.cfg.FaultPoint("view.mounted")
	err := f()
	e.cfg.FaultPoint("view.used")
	return errors.Join(err, e.releaseRootfs(context.WithoutCancel(ctx), c))
}

// mountPlain mounts a root file system with the owners that it has on disk, whoever the container's users are.
func (e *Engine) mountPlain(ctx context.Context, c *container) error {
	if err := os.MkdirAll(e.rootfs(c.id), 0o710); err != nil {
		return err
	}
	return e.cfg.Snapshots.Mount(ctx, c.id, e.rootfs(c.id), snapshot.View{})
}

// withView calls f with a container's root as its processes see it: volumes, binds and, while it runs, all else that is
// mounted there.
func (e *Engine) withView(ctx context.Context, c *container, f func(*archive.Root) error) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	if !active(c.get().State) {
		defer c.unlock()
		if err := e.mountVolumes(ctx, c); err != nil {
			return errors.Join(err, e.unmountVolumes(ctx, c))
		}
		defer e.unmountVolumes(context.WithoutCancel(ctx), c)
		e.cfg.FaultPoint("view.volumes")
		return e.whileMounted(ctx, c, func() error { return e.inPrivateMounts(c, f) })
	}
	root, err := e.processRoot(c)
	c.unlock()
	if err != nil {
		return err
	}
	defer root.Close()
	root.Users = usersOf(c.get(), true)
	return asRootOf(root.Users, func() error { return f(root) })
}

// processRoot opens the root directory of a container's first process. The number may mean another process by now, and a
// process may change its root: only the container's own root file system will do.
func (e *Engine) processRoot(c *container) (*archive.Root, error) {
	row := c.get()
	root, err := archive.Open(fmt.Sprintf("/proc/%d/root", row.Pid))
	if err != nil {
		return nil, errorf(ErrPrecondition, "container %s has just ended: try again", row.Name)
	}
	var here, want unix.Stat_t
	err = errors.Join(unix.Fstat(root.Fd(), &here), unix.Stat(e.rootfs(c.id), &want))
	if err != nil || here.Dev != want.Dev || here.Ino != want.Ino {
		root.Close()
		return nil, errorf(ErrPrecondition, "the root of container %s cannot be reached: its first process has ended or has another root", row.Name)
	}
	return root, nil
}

// withImage calls f with the directory where a container's image is mounted, nothing of the container in it. It is a
// snapshot like a container's, so that a crash leaves nothing that is not swept.
func (e *Engine) withImage(ctx context.Context, img *Image, f func(dir string) error) error {
	tmp := newContainer("", &api.Container{Id: id.NewHex()}, nil, img)
	if err := e.prepareSnapshot(ctx, tmp); err != nil {
		return err
	}
	e.cfg.FaultPoint("view.snapshot")
	err := e.mountPlain(ctx, tmp)
	if err == nil {
		e.cfg.FaultPoint("view.image")
		err = f(e.rootfs(tmp.id))
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, e.releaseRootfs(ctx, tmp), e.releaseSnapshot(ctx, tmp))
}

// madeForMounts are names that a start makes in a container's layer to mount something on. Nobody wrote them.
func madeForMounts(name string) bool {
	switch name {
	case "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf":
		return true
	}
	return false
}

// wholeSnapshots says that the snapshotter keeps no layer of what a container wrote.
func (e *Engine) wholeSnapshots(ctx context.Context, id string) (bool, error) {
	mounts, err := e.cfg.Snapshots.Mounts(ctx, id)
	return err == nil && len(mounts) > 0 && mounts[0].Type != "overlay", err
}

func (e *Engine) upperDir(ctx context.Context, c *container) (string, error) {
	dir, err := e.cfg.Snapshots.UpperDir(ctx, c.id)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	return filepath.Clean(dir), nil
}
