//go:build linux

package runtime

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/cgroup"
)

// limits are the spec's resources with the devices that every container may use.
func limits(sp *specs.Spec) *specs.LinuxResources {
	var r specs.LinuxResources
	if sp.Linux != nil && sp.Linux.Resources != nil {
		r = *sp.Linux.Resources
	}
	r.Devices = cgroup.WithDefaults(r.Devices)
	return &r
}

// input collects what a container's program is compiled from, all but its filter.
func (s *Shoal) input(o CreateOptions, sp *specs.Spec, g *cgroup.Group) input {
	in := input{spec: sp, options: o, ownCaps: s.caps, groups: groupsOf(g)}
	if sp.Root != nil {
		in.root = sp.Root.Path
		if !strings.HasPrefix(in.root, "/") {
			in.root = o.Bundle + "/" + in.root
		}
	}
	return in
}

func groupsOf(g *cgroup.Group) groupFiles {
	f := groupFiles{tasks: g.TaskFiles(), v2: g.V2Dir(), oom: g.OOMFile(), unified: g.Unified()}
	dirs := g.Dirs()
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		f.visible = append(f.visible, visibleV{name, dirs[name]})
	}
	return f
}

// filter compiles a seccomp profile: its flags, then an array of struct sock_filter.
func (s *Shoal) filter(p *specs.LinuxSeccomp) ([]byte, error) {
	if p == nil {
		return nil, nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	f, err := s.filters.Compile(text)
	if err != nil {
		return nil, err
	}
	return append(binary.NativeEndian.AppendUint32(nil, f.Flags), f.Bytes()...), nil
}
