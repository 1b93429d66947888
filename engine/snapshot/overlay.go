//go:build linux

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/fstree"
	"github.com/shoal-dev/shoal/internal/thread"
)

// Overlay keeps layers as overlayfs wants them and mounts chains of them with overlayfs.
type Overlay struct {
	*disk
}

var _ Snapshotter = (*Overlay)(nil)

// maxLayers is the kernel's limit of lower directories in one mount.
const maxLayers = 500

// NewOverlay opens or makes an overlayfs snapshotter in dir. It fails at once where overlayfs cannot work:
// dir must lie on a file system with d_type and trusted xattrs (ext4, xfs, btrfs), not on overlayfs itself.
func NewOverlay(dir string) (Snapshotter, error) {
	d, err := openDisk(dir)
	if err != nil {
		return nil, err
	}
	o := &Overlay{d}
	if err := o.probe(); err != nil {
		return nil, fmt.Errorf("overlayfs does not work in %s: %w", dir, err)
	}
	return o, nil
}

// probe mounts a small overlay, as the kernel's reasons to refuse cannot be known otherwise.
func (o *Overlay) probe() error {
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
func (o *Overlay) Unpack(ctx context.Context, key, parent string, fill func(dir string) error) error {
	return o.unpack(ctx, Info{Key: key, Parent: parent}, func(staged string) error {
		return fill(filepath.Join(staged, "fs"))
	})
}

// Prepare implements Snapshotter.
func (o *Overlay) Prepare(ctx context.Context, key, parent string) error {
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
func (o *Overlay) copyRootAttributes(upper string, lower []int) error {
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

// Mounts implements Snapshotter. Chains longer than a page of options can only be mounted with Mount.
func (o *Overlay) Mounts(_ context.Context, key string) ([]Mount, error) {
	e, lower, err := o.layers(key)
	if err != nil {
		return nil, err
	}
	if len(lower) == 0 {
		return []Mount{{Type: "bind", Source: o.fsPath(e.n), Options: []string{"rbind", "rw"}}}, nil
	}
	paths := make([]string, len(lower))
	for i, n := range lower {
		paths[i] = escape(o.fsPath(n))
	}
	opts := options(paths, escape(o.fsPath(e.n)), escape(filepath.Join(o.path(e.n), "work")))
	return []Mount{{Type: "overlay", Source: "overlay", Options: strings.Split(opts, ",")}}, nil
}

// escape protects what overlayfs takes for separators.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// layers returns an active snapshot and what it lies on, nearest first.
func (o *Overlay) layers(key string) (*entry, []int, error) {
	e, err := o.active(key)
	if err != nil {
		return nil, nil, err
	}
	lower, err := o.chain(e.Parent)
	return e, lower, err
}

// options are overlayfs': features that would put anything but plain files and whiteouts into a layer are off.
func options(lower []string, upper, work string) string {
	return "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + upper + ",workdir=" + work +
		",index=off,metacopy=off,redirect_dir=off"
}

// Mount implements Snapshotter.
func (o *Overlay) Mount(_ context.Context, key, target string, v View) error {
	e, lower, err := o.layers(key)
	if err != nil {
		return fmt.Errorf("mount root file system: %w", err)
	}
	if len(lower) == 0 {
		return bind(o.fsPath(e.n), target, v)
	}
	upper := relative(e.n)
	done, err := mountedAs(target, func(m mountInfo) bool {
		return slices.Contains(m.superOptions, "upperdir="+upper) || slices.Contains(m.superOptions, "upperdir="+o.fsPath(e.n))
	})
	if done || err != nil {
		return err
	}
	if v.Users != nil {
		if err := o.mountMapped(e.n, lower, target, v); err != nil {
			return fmt.Errorf("mount root file system %s at %s for other users: %w", key, target, err)
		}
		return nil
	}
	paths := make([]string, len(lower))
	for i, n := range lower {
		paths[i] = relative(n)
	}
	err = mountIn(o.snapshots(), target, "overlay", options(paths, upper, strconv.Itoa(e.n)+"/work")+ContextOption(v.Label))
	if err != nil {
		return fmt.Errorf("mount root file system %s at %s: %w", key, target, err)
	}
	return nil
}

func relative(n int) string { return strconv.Itoa(n) + "/fs" }

// mountIn mounts with options whose paths are relative to dir, which keeps 500 of them within the page that the
// kernel takes. A working directory belongs to the process, so a thread gets one of its own and ends with the job.
func mountIn(dir, target, fstype, opts string) error {
	if len(opts) >= os.Getpagesize() {
		return fmt.Errorf("%d bytes of mount options, a page is the limit", len(opts))
	}
	target, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	return thread.Spend(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare working directory: %w", err)
		}
		if err := unix.Chdir(dir); err != nil {
			return fmt.Errorf("chdir %s: %w", dir, err)
		}
		return unix.Mount("overlay", target, fstype, 0, opts)
	})
}

// Unmount implements Snapshotter.
func (o *Overlay) Unmount(_ context.Context, target string) error { return unmount(target) }

func unmount(target string) error {
	// Detached, since a process in another mount namespace may hold a copy; all mounts at the target, should it have several.
	for {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // not mounted
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
}

// UpperDir implements Snapshotter.
func (o *Overlay) UpperDir(_ context.Context, key string) (string, error) {
	e, err := o.active(key)
	if err != nil {
		return "", err
	}
	return o.fsPath(e.n), nil
}
