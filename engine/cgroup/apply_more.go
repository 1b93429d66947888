//go:build linux

package cgroup

import (
	"fmt"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// applyAnywhere sets what is the same in both versions, in whichever hierarchy the controller is: a host may have mounted
// net_cls as version 1 beside a version 2 that has all others, or left hugetlb to version 2 alone.
func applyAnywhere(w *writer, r *specs.LinuxResources) {
	for _, h := range r.HugepageLimits {
		name := "hugetlb." + h.Pagesize + ".max"
		if w.group.dir("hugetlb") != "" {
			name = "hugetlb." + h.Pagesize + ".limit_in_bytes"
		}
		w.anywhere("hugetlb", name, text(h.Limit))
	}
	if n := r.Network; n != nil {
		if n.ClassID != nil {
			w.v1("net_cls", "net_cls.classid", fmt.Sprint(*n.ClassID))
		}
		for _, p := range n.Priorities {
			w.v1("net_prio", "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority))
		}
	}
	for _, device := range slices.Sorted(maps.Keys(r.Rdma)) {
		line := device
		if n := r.Rdma[device].HcaHandles; n != nil {
			line += fmt.Sprintf(" hca_handle=%d", *n)
		}
		if n := r.Rdma[device].HcaObjects; n != nil {
			line += fmt.Sprintf(" hca_object=%d", *n)
		}
		w.anywhere("rdma", "rdma.max", line)
	}
	w.conf(r.Unified)
}

// Beside names a controller that r uses in a version 1 tree beside a version 2 that has the others, "" if there is none.
// Other runtimes put no process into such a tree.
func (t *Tree) Beside(r *specs.LinuxResources) string {
	if r == nil || !t.Unified() {
		return ""
	}
	used := map[string]bool{"hugetlb": len(r.HugepageLimits) > 0, "rdma": len(r.Rdma) > 0}
	if r.Network != nil {
		used["net_cls"], used["net_prio"] = r.Network.ClassID != nil, len(r.Network.Priorities) > 0
	}
	for name := range r.Unified {
		used[controllerOf(name)] = true
	}
	for _, h := range t.v1 {
		for _, c := range h.controllers {
			if used[c] {
				return c
			}
		}
	}
	return ""
}

// anywhere writes a file of a controller that may be in either version's tree.
func (w *writer) anywhere(controller, name, value string) {
	switch {
	case w.err != nil:
	case w.group.dir(controller) == "" && w.group.tree.v2 == "":
		w.v1(controller, name, value) // says what is missing
	default:
		w.err = write(w.group.home(controller), name, value)
	}
}
