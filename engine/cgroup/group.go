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
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Create makes the group in every hierarchy. It may exist already.
func (g *Group) Create() error {
	for range 10 { // Delete of the last group of a parent takes the parent with it
		if err := g.create(); !errors.Is(err, fs.ErrNotExist) {
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
	// A new cpuset is empty and takes no process until it has processors and memory.
	at := h.root
	for part := range strings.SplitSeq(g.path, "/") {
		above := at
		at = filepath.Join(at, part)
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if have, err := read(at, name); err == nil && have == "" {
				if v, err := read(above, name); err == nil {
					if err := write(at, name, v); err != nil {
						return err
					}
				}
			}
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

// Freeze stops or continues all processes of the group and waits until that is so.
func (g *Group) Freeze(ctx context.Context, frozen bool) error {
	dir, name, value, done := g.freezer(frozen)
	if dir == "" {
		return fmt.Errorf("pause: this machine has no cgroup freezer")
	}
	if err := write(dir, name, value); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	for {
		now, err := g.Frozen()
		if err != nil || now == frozen {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pause: processes did not become %s: %w", done, ctx.Err())
		case <-time.After(2 * time.Millisecond):
			if frozen { // v1 needs to be told again about processes that were busy
				write(dir, name, value)
			}
		}
	}
}

func (g *Group) freezer(frozen bool) (dir, name, value, done string) {
	if d := g.dir("freezer"); d != "" {
		if frozen {
			return d, "freezer.state", "FROZEN", "frozen"
		}
		return d, "freezer.state", "THAWED", "thawed"
	}
	if frozen {
		return g.V2Dir(), "cgroup.freeze", "1", "frozen"
	}
	return g.V2Dir(), "cgroup.freeze", "0", "thawed"
}

// Frozen reports whether the group is frozen, by itself.
func (g *Group) Frozen() (bool, error) {
	if d := g.dir("freezer"); d != "" {
		v, err := read(d, "freezer.state")
		return v == "FROZEN", err
	}
	if g.V2Dir() == "" {
		return false, nil
	}
	n, err := keyed(g.V2Dir(), "cgroup.events", "frozen")
	return n == 1, err
}

// Pids are all processes in the group and below it.
func (g *Group) Pids() ([]int, error) {
	seen := map[int]bool{}
	for _, root := range g.dirs() {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
			if d.IsDir() {
				return addPids(path, seen)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		if len(seen) > 0 {
			break // all hierarchies hold the same ones
		}
	}
	list := make([]int, 0, len(seen))
	for pid := range seen {
		list = append(list, pid)
	}
	slices.Sort(list)
	return list, nil
}

func addPids(dir string, seen map[int]bool) error {
	text, err := read(dir, "cgroup.procs")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range strings.Fields(text) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			seen[pid] = true
		}
	}
	return nil
}

// Signal sends a signal to every process of the group.
func (g *Group) Signal(sig syscall.Signal) error {
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}

// Kill ends every process of the group, frozen ones included. It does not wait.
func (g *Group) Kill() error {
	if d := g.V2Dir(); d != "" {
		if err := write(d, "cgroup.kill", "1"); err == nil {
			if d := g.dir("freezer"); d != "" {
				write(d, "freezer.state", "THAWED")
			}
			return g.Signal(syscall.SIGKILL)
		}
	}
	err := g.Signal(syscall.SIGKILL)
	if d := g.dir("freezer"); d != "" {
		write(d, "freezer.state", "THAWED") // the dead cannot die while they are frozen
	}
	return err
}

// Delete kills what is left in the group and removes it everywhere. A group that
// does not exist is deleted already.
func (g *Group) Delete(ctx context.Context) error {
	for _, dir := range g.dirs() {
		if err := g.remove(ctx, dir); err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
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
			return fmt.Errorf("%s is still in use: %w", dir, ctx.Err())
		case <-time.After(wait):
		}
	}
}

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

func read(dir, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b)), err
}

func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}

// keyed reads "key N" from a file; a missing key is 0.
func keyed(dir, name, key string) (uint64, error) {
	text, err := read(dir, name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			return strconv.ParseUint(v, 10, 64)
		}
	}
	return 0, nil
}

// number reads a file with one number; "max" is 0.
func number(dir, name string) (uint64, error) {
	text, err := read(dir, name)
	if err != nil || text == "max" {
		return 0, err
	}
	return strconv.ParseUint(text, 10, 64)
}
