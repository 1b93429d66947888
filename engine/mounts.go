//go:build linux

package engine

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/proto/api"
)

// mountPoints settles what is mounted where: the container's own mounts, those of other containers (volumes_from), and
// an anonymous volume for every VOLUME of the image that nothing covers.
func (e *Engine) mountPoints(ctx context.Context, req *api.CreateContainerRequest, image *Image) ([]*api.MountPoint, error) {
	var out []*api.MountPoint
	covered := map[string]bool{}
	add := func(m *api.MountPoint) { out, covered[m.Destination] = append(out, m), true }
	for _, m := range req.Spec.Mounts {
		target := path.Clean(m.Target)
		point, err := mountPoint(m, target)
		if err == nil {
			err = e.checkRelabel(m)
		}
		if err != nil {
			return nil, err
		}
		add(point)
	}
	for _, from := range req.VolumesFrom {
		inherited, err := e.inherited(ctx, from)
		if err != nil {
			return nil, err
		}
		for _, m := range inherited {
			if !covered[m.Destination] {
				add(m)
			}
		}
	}
	for _, v := range slices.Sorted(maps.Keys(image.Config.Volumes)) {
		if target := path.Clean("/" + v); !covered[target] && target != "/" {
			add(&api.MountPoint{
				Type: "volume", Name: id.NewHex(), Destination: target, Mount: &api.Mount{Type: api.Mount_VOLUME, Target: target},
			})
		}
	}
	return out, nil
}

func mountPoint(m *api.Mount, target string) (*api.MountPoint, error) {
	p := &api.MountPoint{Source: m.Source, Destination: target, ReadOnly: m.ReadOnly, Mount: m}
	switch m.Type {
	case api.Mount_BIND:
		p.Type = "bind"
		return p, checkBind(m)
	case api.Mount_VOLUME:
		p.Type, p.Name, p.Source = "volume", m.Source, ""
		if p.Name == "" {
			p.Name = id.NewHex()
		}
	case api.Mount_TMPFS:
		p.Type, p.Source = "tmpfs", ""
	}
	return p, nil
}

// inherited are the binds and volumes of another container, given as CONTAINER or CONTAINER:ro. Volumes are filled first:
// what they begin with is what the other container's image has there.
func (e *Engine) inherited(ctx context.Context, from string) ([]*api.MountPoint, error) {
	ref, mode, _ := strings.Cut(from, ":")
	if mode != "" && mode != "ro" && mode != "rw" {
		return nil, errorf(ErrInvalid, "volumes from %q: the mode is ro or rw", from)
	}
	other, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	if err := e.fillUnstarted(ctx, other); err != nil {
		return nil, fmt.Errorf("fill volumes of container %s: %w", other.get().Name, err)
	}
	var out []*api.MountPoint
	for _, m := range other.get().Mounts {
		if m.Type == "tmpfs" {
			continue
		}
		m = proto.CloneOf(m)
		m.ReadOnly = m.ReadOnly || mode == "ro"
		if m.Mount != nil {
			m.Mount.NoCopy = true
		}
		out = append(out, m)
	}
	return out, nil
}

// isPercent knows a share of the host's memory, the one size that is no number.
func isPercent(s string) bool {
	number, ok := strings.CutSuffix(s, "%")
	n, err := strconv.ParseUint(number, 10, 8)
	return ok && err == nil && n >= 1 && n <= 100
}

// checkTmpfs refuses what could say something about the host, and what the kernel does not know.
func checkTmpfs(m *api.Mount) error {
	flags := []string{"exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "relatime"}
	values := []string{"uid", "gid", "nr_inodes"}
	for _, o := range m.TmpfsOptions {
		key, value, hasValue := strings.Cut(o, "=")
		if _, err := strconv.ParseUint(value, 10, 32); hasValue && err == nil && slices.Contains(values, key) {
			continue
		}
		if key == "size" && isPercent(value) {
			continue
		}
		if !hasValue && slices.Contains(flags, key) {
			continue
		}
		return errorf(ErrInvalid, "mount %s: unknown tmpfs option %q: there are %s, and %s with a number", m.Target, o,
			strings.Join(flags, ", "), strings.Join(values, "=, ")+"=")
	}
	return nil
}
