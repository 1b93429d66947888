//go:build linux

package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/fstree"
	"github.com/shoal-dev/shoal/internal/thread"
)

// overlay keeps layers as overlayfs wants them and mounts chains of them with overlayfs.
type overlay struct {
	*disk
}

var _ Snapshotter = (*overlay)(nil)

// maxLayers is the kernel's limit of lower directories in one mount.
const maxLayers = 500

// NewOverlay opens or makes an overlayfs snapshotter in dir. It fails at once where overlayfs cannot work:
// dir must lie on a file system with d_type and trusted xattrs (ext4, xfs, btrfs), not on overlayfs itself.
func NewOverlay(dir string) (Snapshotter, error) {
	d, err := openDisk(dir)
	if err != nil {
		return nil, err
	}
	o := &overlay{d}
	if err := o.probe(); err != nil {
		return nil, fmt.Errorf("overlayfs does not work in %s: %w", dir, err)
	}
	return o, nil
}

// probe mounts a small overlay, as the kernel's reasons to refuse cannot be known otherwise.
func (o *overlay) probe() error {
	tmp, err := os.MkdirTemp(o.tmp(), "new-probe-")
	if err != nil {
		return err
	}
	defer fstree.RemoveAll(tmp)
	for _, p := range []string{"low", "fs", "work", "at"} {
		if err := os.Mkdir(filepath.Join(tmp, p), 0o700); err != nil {
			return err
		}
	}
	return thread.Spend(func() error { return probeIn(tmp) })
}

// probeIn mounts where nobody else sees it: a daemon that is killed leaves nothing that the next one cannot remove.
func probeIn(dir string) error {
	if err := privateMounts(); err != nil {
		return err
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.Mount("overlay", "at", "overlay", 0, options([]string{"low"}, "fs", "work")); err != nil {
		return err
	}
	return unix.Unmount("at", unix.MNT_DETACH)
}

// privateMounts gives the calling thread mounts of its own.
func privateMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// Unpack implements Snapshotter.
func (o *overlay) Unpack(ctx context.Context, key, parent string, fill func(dir string) error) error {
	return o.unpack(ctx, Info{Key: key, Parent: parent}, func(staged string) error {
		return fill(filepath.Join(staged, "fs"))
	})
}

// Prepare implements Snapshotter.
func (o *overlay) Prepare(ctx context.Context, key, parent string) error {
	lower, err := o.chain(parent)
	if err != nil {
		return fmt.Errorf("prepare snapshot %s: %w", key, err)
	}
	if len(lower) > maxLayers {
		return fmt.Errorf("prepare snapshot %s: the image has %d layers, overlayfs takes %d: build it with fewer", key, len(lower), maxLayers)
	}
	return o.prepare(ctx, Info{Key: key, Parent: parent, Active: true}, func(staged string) error {
		if err := o.copyRootAttributes(filepath.Join(staged, "fs"), lower); err != nil {
			return err
		}
		return os.Mkdir(filepath.Join(staged, "work"), 0o700)
	})
}

// copyRootAttributes gives the new upper directory the owner and mode of the image's own "/", since the upper
// directory's are the ones that the container sees.
func (o *overlay) copyRootAttributes(upper string, lower []int) error {
	if len(lower) == 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(o.fsPath(lower[0]), &st); err != nil {
		return err
	}
	if err := os.Chown(upper, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(upper, st.Mode&0o7777)
}

// UpperDir implements Snapshotter.
func (o *overlay) UpperDir(_ context.Context, key string) (string, error) {
	e, err := o.active(key)
	if err != nil {
		return "", err
	}
	return o.fsPath(e.n), nil
}
