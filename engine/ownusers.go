//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/userns"
	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/proto/api"
)

// Users of containers with a user namespace of their own, as the host numbers them: ranges of usersSize from usersFirst on.
// Nothing else lives there: distributions stop at 65535, subordinate IDs below 600 million, systemd's own containers just
// before usersFirst (systemd.io/UIDS-GIDS). The first range is shared by all containers of mode remap.
const (
	usersFirst  = 0x70000000
	usersSize   = 65536
	usersRanges = 4093
)

// Modes of user namespaces.
const (
	usernsAuto  = "auto"
	usernsRemap = "remap"
)

// hasOwnUsers says that a container is to have a user namespace of its own.
func hasOwnUsers(s *api.ContainerSpec) bool {
	return s.GetUsernsMode() == usernsAuto || s.GetUsernsMode() == usernsRemap
}

// chooseUsers gives a container its range. e.mu is held.
func (e *Engine) chooseUsers(row *api.Container) error {
	switch row.Spec.GetUsernsMode() {
	case usernsRemap:
		row.UsernsBase, row.UsernsSize = usersFirst, usersSize
	case usernsAuto:
		for i := uint32(1); i < usersRanges; i++ {
			base := usersFirst + i*usersSize
			if _, taken := e.users[base]; !taken {
				row.UsernsBase, row.UsernsSize = base, usersSize
				e.users[base] = row.Id
				return nil
			}
		}
		return errorf(ErrPrecondition, "all %d ranges of users are taken: remove containers that have one of their own", usersRanges-1)
	}
	return nil
}

// forgetUsers gives a range back. e.mu is held.
func (e *Engine) forgetUsers(row *api.Container) {
	if e.users[row.UsernsBase] == row.Id {
		delete(e.users, row.UsernsBase)
	}
}

// checkUsers refuses what would undo a user namespace, or cannot work in one.
func checkUsers(s *api.ContainerSpec, networkMode string) error {
	switch s.UsernsMode {
	case "", "host":
		return nil
	case usernsAuto, usernsRemap:
	default:
		return errorf(ErrInvalid, "--userns %q is not host, auto or remap", s.UsernsMode)
	}
	for _, c := range []struct {
		what string
		bad  bool
	}{
		{"--privileged", s.Privileged},
		{"--pid " + s.PidMode, s.PidMode != ""},
		{"--ipc " + s.IpcMode, s.IpcMode == "host" || joinsContainer(s.IpcMode)},
		{"--uts host", s.UtsMode == "host"},
		{"--network " + networkMode, joinsContainer(networkMode)},
	} {
		if c.bad {
			return errorf(ErrInvalid, "%s cannot be combined with a user namespace of the container's own: leave one out, or use --userns host", c.what)
		}
	}
	return nil
}

func (e *Engine) usernsPath(id string) string { return filepath.Join(e.cfg.RunDir, "userns", id) }

// prepareUserNS makes and pins the container's user namespace, together with the network namespace that has to belong to it.
func (e *Engine) prepareUserNS(_ context.Context, c *container) error {
	row := c.get()
	if row.UsernsSize == 0 {
		return nil
	}
	path, net := e.usernsPath(c.id), e.netnsPath(c.id)
	own := ownNetNS(row.NetworkMode)
	if isNetNS(path) && (!own || isNetNS(net)) {
		return nil
	}
	if err := errors.Join(unmount(path), unmount(net)); err != nil { // one without the other: a start that was cut off
		return err
	}
	ns, err := userns.Make(userns.Range{Base: row.UsernsBase, Size: row.UsernsSize}, own)
	if err != nil {
		return err
	}
	defer ns.Close()
	if own {
		if err := loopbackUpIn(ns.Net); err != nil {
			return err
		}
		if err := pin(ns.Net, net); err != nil {
			return err
		}
	}
	return pin(ns.User, path)
}

// pin keeps a namespace at a path.
func pin(ns *os.File, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("pin namespace: %w", err)
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin namespace at %s: %w", path, err)
	}
	return nil
}

func loopbackUpIn(net *os.File) error {
	err := thread.Spend(func() error {
		if err := unix.Setns(int(net.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return loopbackUp()
	})
	if err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return nil
}

func (e *Engine) releaseUserNS(_ context.Context, c *container) error {
	path := e.usernsPath(c.id)
	if err := unmount(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// openUsers opens the container's user namespace, nil if it has none of its own.
func (e *Engine) openUsers(row *api.Container) (*os.File, error) {
	if row.UsernsSize == 0 {
		return nil, nil
	}
	return os.Open(e.usernsPath(row.Id))
}

// reachable lets the container's root, and no other user of the host, into the bundle.
func (e *Engine) reachable(row *api.Container) error {
	if row.UsernsSize == 0 {
		return nil
	}
	return os.Chown(e.bundle(row.Id), 0, int(row.UsernsBase))
}
