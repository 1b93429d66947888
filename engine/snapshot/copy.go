//go:build linux

package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/userns"

	"github.com/shoal-dev/shoal/engine/fstree"
)

// Copy keeps every snapshot as a whole root file system: for file systems that overlayfs refuses. It costs a copy of the
// image for each layer and each container (references where the file system has them: XFS, btrfs).
type Copy struct {
	*disk
}

var _ Snapshotter = (*Copy)(nil)

// NewCopy opens or makes a copying snapshotter in dir.
func NewCopy(dir string) (Snapshotter, error) {
	d, err := openDisk(dir)
	if err != nil {
		return nil, err
	}
	return &Copy{d}, nil
}

// Unpack implements Snapshotter.
func (c *Copy) Unpack(ctx context.Context, key, parent string, fill func(dir string) error) error {
	return c.unpack(ctx, Info{Key: key, Parent: parent}, func(staged string) error {
		layer := filepath.Join(staged, "layer")
		if err := os.Mkdir(layer, 0o755); err != nil {
			return err
		}
		if err := fill(layer); err != nil {
			return err
		}
		root := filepath.Join(staged, "fs")
		if err := c.copyParent(ctx, parent, root); err != nil {
			return err
		}
		if err := apply(layer, root); err != nil {
			return fmt.Errorf("apply layer: %w", err)
		}
		return fstree.RemoveAll(layer)
	})
}

// Prepare implements Snapshotter.
func (c *Copy) Prepare(ctx context.Context, key, parent string) error {
	return c.prepare(ctx, Info{Key: key, Parent: parent, Active: true}, func(staged string) error {
		return c.copyParent(ctx, parent, filepath.Join(staged, "fs"))
	})
}

func (c *Copy) copyParent(ctx context.Context, parent, root string) error {
	chain, err := c.chain(parent)
	if err != nil || len(chain) == 0 {
		return err
	}
	return fstree.Copy(ctx, c.fsPath(chain[0]), root)
}

// apply does to the directory root what overlayfs would show with layer on top. It takes layer's files away.
func apply(layer, root string) error {
	entries, err := os.ReadDir(layer)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(layer, e.Name()), filepath.Join(root, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(from, &st); err != nil {
			return err
		}
		isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if !isDir || isOpaque(from) || !isRealDir(to) {
			if err := fstree.RemoveAll(to); err != nil {
				return err
			}
		}
		switch {
		case isDir:
			err = applyDir(from, to)
		case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
			// a whiteout: gone already
		default:
			err = os.Rename(from, to)
		}
		if err != nil {
			return err
		}
	}
	return fstree.CopyAttributes(layer, root) // last: entries change a directory's times
}

func applyDir(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	var st unix.Stat_t // read before files are moved out of it, which changes its times
	if err := unix.Stat(from, &st); err != nil {
		return err
	}
	if err := apply(from, to); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func isRealDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir()
}

func isOpaque(dir string) bool {
	var v [1]byte
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", v[:])
	return err == nil && n == 1 && v[0] == 'y'
}

// Mounts implements Snapshotter.
func (c *Copy) Mounts(_ context.Context, key string) ([]Mount, error) {
	e, err := c.active(key)
	if err != nil {
		return nil, err
	}
	return []Mount{{Type: "bind", Source: c.fsPath(e.n), Options: []string{"rbind", "rw"}}}, nil
}

// Mount implements Snapshotter.
func (c *Copy) Mount(_ context.Context, key, target string, v View) error {
	e, err := c.active(key)
	if err != nil {
		return fmt.Errorf("mount root file system: %w", err)
	}
	return bind(c.fsPath(e.n), target, v)
}

// bind mounts source at target unless it is there already.
func bind(source, target string, v View) error {
	done, err := mountedAs(target, func(mountInfo) bool { return sameFile(source, target) })
	if done || err != nil {
		return err
	}
	tree, err := userns.Map(source, v.Users, false)
	if err == nil && v.Label != "" { // a bind mount has no label of its own
		err = unix.Lsetxattr(source, "security.selinux", []byte(v.Label), 0)
	}
	if err == nil {
		err = userns.Attach(tree, target)
	}
	if err != nil {
		return fmt.Errorf("mount root file system at %s: %w", target, err)
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// Unmount implements Snapshotter.
func (c *Copy) Unmount(_ context.Context, target string) error { return unmount(target) }

// UpperDir implements Snapshotter.
func (c *Copy) UpperDir(_ context.Context, key string) (string, error) {
	e, err := c.active(key)
	if err != nil {
		return "", err
	}
	return c.fsPath(e.n), nil
}
