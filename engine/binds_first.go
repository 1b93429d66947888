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
	"github.com/shoal-dev/shoal/proto/api"
)

func (e *Engine) boundPath(id string, i int) string {
	return filepath.Join(e.bundle(id), "mounts", fmt.Sprint(i))
}

// boundFirst says that a mount is made below the bundle before the container's own: so that a container with its own users
// can reach it, and so that a subpath is what was found and checked, whatever others that have the volume make of it
// meanwhile.
func boundFirst(row *api.Container, i int) bool {
	return row.UsernsSize > 0 || i < len(row.Mounts) && asked(row.Mounts[i]).Subpath != ""
}

// prepareBinds makes those mounts. For a container with its own users, volumes and the files in /etc show its own owners;
// files of the host that are bound keep theirs, as Docker's do.
func (e *Engine) prepareBinds(_ context.Context, c *container) error {
	row := c.get()
	users, err := e.openUsers(row)
	if err != nil {
		return err
	}
	if users != nil {
		defer users.Close()
	}
	mounts, err := e.ociMounts(c)
	if err != nil {
		return err
	}
	for i, m := range mounts {
		if m.Type != "bind" || !boundFirst(row, i) {
			continue
		}
		p, owner := &api.MountPoint{Source: m.Source}, users
		if i < len(row.Mounts) {
			p = row.Mounts[i]
		}
		if p.Type == "bind" {
			owner = nil
		}
		if err := e.bindFirst(c, i, p, owner); err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
	}
	return nil
}

func (e *Engine) bindFirst(c *container, i int, p *api.MountPoint, owner *os.File) error {
	if err := os.MkdirAll(filepath.Join(e.bundle(c.id), "mounts"), 0o711); err != nil {
		return err
	}
	source, err := openSource(p)
	if err != nil {
		return err
	}
	defer source.Close()
	return bindAt(fmt.Sprintf("/proc/self/fd/%d", source.Fd()), e.boundPath(c.id, i), owner, asked(p))
}

func bindAt(source, target string, owner *os.File, m *api.Mount) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if st.IsDir() {
		err = os.MkdirAll(target, 0o711)
	} else {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unmount(target); err != nil { // of a start that was cut off
		return err
	}
	tree, err := copyTree(source, owner, m)
	if errors.Is(err, unix.EINVAL) && owner != nil {
		return errors.New("its file system cannot show other owners: use --userns host")
	}
	if err != nil {
		return err
	}
	return userns.Attach(tree, target)
}

func copyTree(source string, owner *os.File, m *api.Mount) (*os.File, error) {
	if owner == nil && !isPrivate(m.Propagation) {
		return userns.Follow(source, !m.NonRecursive)
	}
	return userns.Map(source, owner, !m.NonRecursive)
}

func (e *Engine) releaseBinds(_ context.Context, c *container) error {
	return unmountBelow(filepath.Join(e.bundle(c.id), "mounts"))
}
