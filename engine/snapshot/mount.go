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

	"github.com/shoal-dev/shoal/internal/thread"
)

// Mounts implements Snapshotter. Chains longer than a page of options can only be mounted with Mount.
func (o *overlay) Mounts(_ context.Context, key string) ([]Mount, error) {
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
func (o *overlay) layers(key string) (*entry, []int, error) {
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
func (o *overlay) Mount(_ context.Context, key, target string, v View) error {
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
func (o *overlay) Unmount(_ context.Context, target string) error { return unmount(target) }

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
