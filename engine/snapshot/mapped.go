//go:build linux

package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/userns"
	"github.com/shoal-dev/shoal/internal/thread"
)

// mountMapped mounts a chain whose layers show a user namespace's owners. overlayfs has no mapping of its own, the mounts of
// its lower layers have. The upper one cannot: overlayfs works in it as the host's root, who is nobody there. It holds the
// namespace's users as the host knows them.
//
// The layers are mounted where nobody else sees them, in a mount namespace of one thread: a crash leaves nothing, least of
// all a mounted layer in a directory that a cleanup would empty.
func (o *overlay) mountMapped(n int, lower []int, target string, v View) error {
	type result struct {
		tree *os.File
		err  error
	}
	r := thread.Spend(func() result {
		tree, err := o.assemble(n, lower, v)
		return result{tree, err}
	})
	if r.err != nil {
		return r.err
	}
	return userns.Attach(r.tree, target)
}

// assemble makes the calling thread a private place, mounts the chain there and opens a detached copy.
func (o *overlay) assemble(n int, lower []int, v View) (*os.File, error) {
	if err := privateMounts(); err != nil {
		return nil, err
	}
	// The sources are opened by their full paths, before and after the tmpfs covers the directory for temporary files.
	if err := unix.Mount("tmpfs", o.tmp(), "tmpfs", 0, "mode=700"); err != nil {
		return nil, fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := unix.Chdir(o.tmp()); err != nil {
		return nil, err
	}
	paths := make([]string, len(lower))
	for i, l := range lower {
		paths[i] = strconv.Itoa(l)
		if err := mapAt(paths[i], o.fsPath(l), v.Users); err != nil {
			return nil, err
		}
	}
	if err := chownTo(o.fsPath(n), o.fsPath(lower[0]), strconv.Itoa(lower[0])); err != nil {
		return nil, err
	}
	at := filepath.Join(o.tmp(), "at")
	if err := os.Mkdir(at, 0o755); err != nil {
		return nil, err
	}
	opts := options(paths, escape(o.fsPath(n)), escape(filepath.Join(o.path(n), "work"))) + ContextOption(v.Label)
	if len(opts) >= os.Getpagesize() {
		return nil, fmt.Errorf("%d bytes of mount options, a page is the limit", len(opts))
	}
	if err := unix.Mount("overlay", at, "overlay", 0, opts); err != nil {
		return nil, err
	}
	return userns.Map(at, nil, false)
}

// mapAt makes a directory and mounts from there with other owners.
func mapAt(name, from string, users *os.File) error {
	tree, err := userns.Map(from, users, false)
	if err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		tree.Close()
		return err
	}
	return userns.Attach(tree, name)
}

// chownTo gives dir, unless somebody has changed it since, the owner that model has where it is mapped.
func chownTo(dir, model, mapped string) error {
	var have, was, want unix.Stat_t
	for path, st := range map[string]*unix.Stat_t{dir: &have, model: &was, mapped: &want} {
		if err := unix.Stat(path, st); err != nil {
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	if have.Uid != was.Uid || have.Gid != was.Gid {
		return nil
	}
	return os.Chown(dir, int(want.Uid), int(want.Gid))
}
