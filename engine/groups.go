//go:build linux

package engine

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/engine/cgroup"
	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// groupPath is a container's control group, in every hierarchy.
func (e *Engine) groupPath(row *api.Container) string {
	return filepath.Join("/", e.cfg.CgroupParent, row.Spec.GetCgroupParent(), row.Id)
}

// maxGroupPath is more than anybody needs, and leaves room in what the kernel takes.
const maxGroupPath = 255

// checkGroupParent refuses a parent that is not below the daemon's own group, or that would be a container's.
func checkGroupParent(parent string) error {
	if len(parent) > maxGroupPath {
		return errorf(ErrInvalid, "cgroup parent %.20q... is longer than %d characters", parent, maxGroupPath)
	}
	for name := range strings.SplitSeq(parent, "/") {
		switch {
		case name == "" || name == ".":
		case name == "..":
			return errorf(ErrInvalid, "cgroup parent %q leads out of the daemon's own control group: give a path below it, without \"..\"", parent)
		case !names.Object(name) || strings.HasPrefix(name, "cgroup."):
			return errorf(ErrInvalid, "cgroup parent %q: %q is not the name of a control group: use letters, digits, '_', '.' and '-'", parent, name)
		case isID(name):
			return errorf(ErrInvalid, "cgroup parent %q: %.12s is the group of a container: give a group that holds none itself", parent, name)
		}
	}
	return nil
}

// checkConf refuses files of control groups that this host does not have, or that are not settings. Without a value an update
// gives them up.
func checkConf(l *api.ContainerLimits, update bool) error {
	if len(l.GetConf()) == 0 {
		return nil
	}
	tree, err := cgroup.Detect()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(l.Conf)) {
		if l.Conf[name] == "" && !update {
			return errorf(ErrInvalid, "--cgroup-conf %s= has no value: leave it out", name)
		}
		if err := tree.CheckConf(name, l.Conf[name]); err != nil {
			return errorf(ErrInvalid, "%w", err)
		}
	}
	return nil
}
