//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Pids are all processes in the group and below it.
func (g *Group) Pids() ([]int, error) {
	seen := map[int]bool{}
	for _, root := range g.dirs() {
		if err := addPidsBelow(root, seen); err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		if len(seen) > 0 {
			break // all hierarchies hold the same ones
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// addPidsBelow takes a group that goes meanwhile for empty.
func addPidsBelow(root string, seen map[int]bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			return addPids(path, seen)
		}
		return nil
	})
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

// whoLives names what has been killed and lives: a process that waits for a disk or a server dies when that answers.
func (g *Group) whoLives() string {
	pids, err := g.Pids()
	if err != nil || len(pids) == 0 {
		return ""
	}
	names := make([]string, 0, len(pids))
	for _, pid := range pids[:min(len(pids), 3)] {
		comm, _ := read(fmt.Sprintf("/proc/%d", pid), "comm")
		names = append(names, fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(comm)))
	}
	if len(pids) > len(names) {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// Kill ends every process of the group, frozen ones included. It does not wait.
func (g *Group) Kill() error {
	if d := g.V2Dir(); d != "" {
		if err := write(d, "cgroup.kill", "1"); err == nil {
			g.thawAll()
			return g.Signal(syscall.SIGKILL)
		}
	}
	err := g.Signal(syscall.SIGKILL)
	g.thawAll()
	return err
}

// thawAll lets the dead die, which in version 1 they cannot while they are frozen: by us, or in a group that the container has
// made (an engine in a container pauses one of its own so).
func (g *Group) thawAll() {
	top := g.dir("freezer")
	if top == "" {
		return
	}
	filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			write(path, "freezer.state", "THAWED")
		}
		return nil // what is gone meanwhile needs nothing
	})
}
