//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/proto/api"
)

// prepareNetNS makes the container's network namespace, loopback up and otherwise empty, and pins it under the
// run directory. Containers on the host's network or in another container's have none.
func (e *Engine) prepareNetNS(_ context.Context, c *container) error {
	if !ownNetNS(c.get().NetworkMode) {
		return nil
	}
	path := e.netnsPath(c.id)
	if c.get().NetworkMode == NetworkExternal && c.get().Netns != "" && !isNetNS(path) {
		return fmt.Errorf("the network namespace %s is gone (the host was restarted): make a new container", path)
	}
	if !isNetNS(path) {
		if err := pinNewNetNS(path); err != nil {
			return err
		}
	}
	return c.update(func(row *api.Container) { row.Netns = path })
}

func (e *Engine) releaseNetNS(_ context.Context, c *container) error {
	path := e.netnsPath(c.id)
	if err := unmount(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if c.get().Netns == "" {
		return nil
	}
	return c.update(func(row *api.Container) { row.Netns = "" })
}

func ownNetNS(mode string) bool {
	return mode != NetworkHost && !joinsContainer(mode)
}

// isNetNS says whether a namespace is pinned at path, not just an empty file.
func isNetNS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// pinNewNetNS makes a namespace in a thread of its own that ends with it.
func pinNewNetNS(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("create network namespace: %w", err)
	}
	f.Close()
	err = thread.Spend(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("create network namespace: %w", err)
		}
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("set loopback up: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("pin network namespace at %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// loopbackUp works on the calling thread's namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
