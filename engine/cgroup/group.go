//go:build linux

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Create makes the group in every hierarchy. It may exist already.
func (g *Group) Create() error {
	for range 10 { // Delete of the last group of a parent takes the parent with it
		if err := g.create(); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return g.create()
}

func (g *Group) create() error {
	for _, h := range g.tree.v1 {
		if err := g.createV1(h); err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
	}
	if g.tree.v2 == "" {
		return nil
	}
	if err := g.createV2(); err != nil {
		return fmt.Errorf("create cgroup: %w", err)
	}
	return nil
}

func (g *Group) createV1(h hierarchy) error {
	dir := filepath.Join(h.root, g.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !slices.Contains(h.controllers, "cpuset") {
		return nil
	}
	at := h.root
	for part := range strings.SplitSeq(g.path, "/") {
		above := at
		at = filepath.Join(at, part)
		if err := inheritCPUSet(at, above); err != nil {
			return err
		}
	}
	return nil
}

// inheritCPUSet gives a new cpuset what the one above it has: an empty one takes no process. What cannot be read is left alone.
func inheritCPUSet(dir, above string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if have, err := read(dir, name); err != nil || have != "" {
			continue
		}
		v, err := read(above, name)
		if err != nil {
			continue
		}
		if err := write(dir, name, v); err != nil {
			return err
		}
	}
	return nil
}

// createV2 makes the directories and turns every controller on that there is, one
// level after the other.
func (g *Group) createV2() error {
	at := g.tree.v2
	for part := range strings.SplitSeq(g.path, "/") {
		if err := enableControllers(at); err != nil {
			return err
		}
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func enableControllers(dir string) error {
	have, err := read(dir, "cgroup.controllers")
	if err != nil || have == "" {
		return err
	}
	on, err := read(dir, "cgroup.subtree_control")
	if err != nil {
		return err
	}
	enabled := strings.Fields(on)
	for _, c := range strings.Fields(have) {
		if slices.Contains(enabled, c) {
			continue
		}
		if err := write(dir, "cgroup.subtree_control", "+"+c); err != nil && neededController(c) {
			return fmt.Errorf("enable controller %s below %s (processes must not live in an inner cgroup): %w", c, dir, err)
		}
	}
	return nil
}

func neededController(c string) bool { return c == "cpu" || c == "memory" || c == "pids" }

// Delete kills what is left in the group and removes it everywhere, and groups above it that are empty then. A group that
// does not exist is deleted already.
func (g *Group) Delete(ctx context.Context) error {
	if err := g.Remove(ctx); err != nil {
		return err
	}
	for _, dir := range g.dirs() { // parents that are empty now; others refuse
		for p := filepath.Dir(g.path); p != "."; p = filepath.Dir(p) {
			dir = filepath.Dir(dir)
			if unix.Rmdir(dir) != nil {
				break
			}
		}
	}
	return nil
}

// Remove is Delete that leaves the groups above as they are: somebody may have set limits there.
func (g *Group) Remove(ctx context.Context) error {
	for _, dir := range g.dirs() {
		if err := g.remove(ctx, dir); err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// remove deletes a directory and those below it, killing their processes until it
// works: a process that has just died may still hold its cgroup for a moment.
func (g *Group) remove(ctx context.Context, dir string) error {
	for wait := 500 * time.Microsecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY && err != unix.ENOTEMPTY {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		if err := removeBelow(dir); err != nil {
			return err
		}
		if err := g.Kill(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return &inUse{dir, g.whoLives(), ctx.Err()}
		case <-time.After(wait):
		}
	}
}

// inUse is the error of a group that could not be removed in time.
type inUse struct {
	dir, who string
	cause    error
}

func (e *inUse) Error() string {
	if e.who == "" {
		return e.dir + " is still in use: " + e.cause.Error()
	}
	return e.dir + " is still in use: killed, but not dead is " + e.who
}

func (e *inUse) Unwrap() error { return e.cause }

// removeBelow removes the groups a container has made in its own, deepest first.
func removeBelow(dir string) error {
	var below []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() && path != dir {
			below = append(below, path)
		}
		return err
	})
	slices.Reverse(below)
	for _, path := range below {
		unix.Rmdir(path)
	}
	return err
}
