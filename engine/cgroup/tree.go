//go:build linux

// Package cgroup makes and reads control groups, version 1, version 2 and hosts
// that have both.
//
// Tree is what this machine has mounted, Group one path in every hierarchy of it.
// The package writes a few files and nothing more: it does not decide limits, and
// it does not move processes, which do that themselves while they are born (see
// TaskFiles and V2Dir).
package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Controllers of version 1. Those that limit what a container is asked to be limited in come first.
var (
	v1Limits      = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"}
	v1Controllers = append([]string{"hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc"}, v1Limits...)
)

// hierarchy is one mounted version 1 tree.
type hierarchy struct {
	name        string // base name of the mount point, "cpu" or "cpu,cpuacct"
	root        string
	controllers []string // or one "name=systemd": a tree that limits nothing
}

// named trees limit nothing: processes are in them to be found again.
func (h hierarchy) named() bool { return strings.HasPrefix(h.controllers[0], "name=") }

// Tree is the set of hierarchies of this machine.
type Tree struct {
	v1 []hierarchy
	v2 string // root of the version 2 tree, empty if none
}

// Detect finds the hierarchies that are mounted and writable by root.
func Detect() (*Tree, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	t := mountinfo(string(text))
	if t.v2 == "" && len(t.v1) == 0 {
		return nil, fmt.Errorf("find cgroups: no cgroup file system is mounted")
	}
	return t, nil
}

func mountinfo(text string) *Tree {
	t := &Tree{}
	for line := range strings.Lines(text) {
		t.addMount(line)
	}
	return t
}

// addMount understands one line of mountinfo:
//
//	36 35 98:0 /root /mount/point rw,noatime shared:1 - cgroup cgroup rw,memory
func (t *Tree) addMount(line string) {
	left, right, ok := strings.Cut(line, " - ")
	if !ok {
		return
	}
	l, r := strings.Fields(left), strings.Fields(right)
	if len(l) < 6 || len(r) < 3 {
		return
	}
	point := l[4]
	switch r[0] {
	case "cgroup2":
		if t.v2 == "" || len(point) < len(t.v2) {
			t.v2 = point
		}
	case "cgroup":
		h := hierarchy{name: filepath.Base(point), root: point}
		for o := range strings.SplitSeq(r[2], ",") {
			if slices.Contains(v1Controllers, o) || strings.HasPrefix(o, "name=") {
				h.controllers = append(h.controllers, o)
			}
		}
		known := slices.ContainsFunc(t.v1, func(o hierarchy) bool { return slices.Equal(o.controllers, h.controllers) })
		if len(h.controllers) > 0 && !known {
			t.v1 = append(t.v1, h)
		}
	}
}

// Unified reports whether resources are controlled by version 2. A hybrid host, whose version 2 tree has no controllers or
// only those that version 1 leaves it, is not unified. One with a version 1 tree for net_cls beside (a VPN's) is.
func (t *Tree) Unified() bool {
	return !slices.ContainsFunc(t.v1, func(h hierarchy) bool {
		return slices.ContainsFunc(h.controllers, func(c string) bool { return slices.Contains(v1Limits, c) })
	})
}

// Group returns the group at a path relative to the root of every hierarchy. It
// need not exist.
func (t *Tree) Group(path string) (*Group, error) {
	clean := filepath.Clean("/" + path)
	if clean == "/" {
		return nil, fmt.Errorf("cgroup path %q names the root", path)
	}
	return &Group{tree: t, path: clean[1:]}, nil
}

// Group is one path in every hierarchy.
type Group struct {
	tree *Tree
	path string
}

// dir is the group's directory in the hierarchy of a version 1 controller, empty without it.
func (g *Group) dir(controller string) string {
	for _, h := range g.tree.v1 {
		if slices.Contains(h.controllers, controller) {
			return filepath.Join(h.root, g.path)
		}
	}
	return ""
}

// V2Dir is the group's directory in the version 2 tree, empty without one. It is a
// descriptor of this directory that a process can be born into.
func (g *Group) V2Dir() string {
	return g.tree.V2Path(g.path)
}

// V2Path is the directory in the version 2 tree of a path as /proc/PID/cgroup has it, empty without such a tree.
func (t *Tree) V2Path(path string) string {
	if t.v2 == "" {
		return ""
	}
	return filepath.Join(t.v2, path)
}

// dirs are all of the group's directories.
func (g *Group) dirs() []string {
	var list []string
	for _, h := range g.tree.v1 {
		list = append(list, filepath.Join(h.root, g.path))
	}
	if g.tree.v2 != "" {
		list = append(list, g.V2Dir())
	}
	return list
}

// TaskFiles are the version 1 files that a single-threaded process writes "0" to in
// order to join the group.
func (g *Group) TaskFiles() []string {
	var list []string
	for _, h := range g.tree.v1 {
		list = append(list, filepath.Join(h.root, g.path, "tasks"))
	}
	return list
}

// Dirs maps the names of the host's version 1 mount points to the group's directories, of trees that have controllers.
func (g *Group) Dirs() map[string]string {
	m := map[string]string{}
	for _, h := range g.tree.v1 {
		if !h.named() {
			m[h.name] = filepath.Join(h.root, g.path)
		}
	}
	return m
}

// Unified is that of the group's tree.
func (g *Group) Unified() bool { return g.tree.Unified() }
