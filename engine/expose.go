//go:build linux

package engine

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/proto/api"
)

// exposedPorts are the ports that a container is said to answer on, as "80/tcp": its image's, its own and those that are
// published. An image's that make no sense are left out, a container's own are refused (checkExposed).
func exposedPorts(req *api.CreateContainerRequest, image map[string]struct{}) []string {
	all := network.ParseExposed(slices.Collect(maps.Keys(image)))
	all = append(all, network.ParseExposed(req.Spec.GetExposedPorts())...)
	all = append(all, req.Ports...)
	slices.SortFunc(all, func(a, b *api.PortBinding) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), strings.Compare(a.Protocol, b.Protocol))
	})
	var out []string
	for _, p := range all {
		out = append(out, portName(p))
	}
	return slices.Compact(out)
}

// portName is a container's port as "80/tcp".
func portName(p *api.PortBinding) string {
	return strconv.Itoa(int(p.ContainerPort)) + "/" + cmp.Or(p.Protocol, "tcp")
}

// wantedPorts are those to publish when a container starts: what was asked for, and with "publish all" what else is exposed.
func (c *container) wantedPorts(row *api.Container) []*api.PortBinding {
	if !c.req.PublishAll {
		return c.req.Ports
	}
	wanted := slices.Clone(c.req.Ports)
	for _, p := range network.ParseExposed(row.ExposedPorts) {
		asked := func(o *api.PortBinding) bool { return portName(o) == portName(p) }
		if !slices.ContainsFunc(c.req.Ports, asked) {
			wanted = append(wanted, p)
		}
	}
	return wanted
}
