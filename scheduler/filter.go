package scheduler

import (
	"fmt"
	"strings"

	"github.com/shoal-dev/shoal/internal/constraint"
	"github.com/shoal-dev/shoal/proto/api"
)

// filter is one condition on a node.
type filter interface {
	// check says how many tasks of the group the node could take as far as this filter goes.
	// With no room, why says the reason: the same text for all nodes that fail alike.
	check(n *node) (room int, why string)
	// explain turns why into what a person reads, given all nodes that failed so.
	explain(why string, failed []*node) string
}

// unlimited is more tasks than anybody has.
const unlimited = 1 << 30

// filtersFor returns the filters that a group needs, cheapest and most telling first.
func filtersFor(g *Group) ([]filter, error) {
	p := g.Spec.GetPlacement()
	cs, err := ParseConstraints(p.GetConstraints())
	if err != nil {
		return nil, err
	}
	fs := []filter{readyFilter{}}
	if len(cs) > 0 {
		fs = append(fs, constraintFilter{constraints: cs})
	}
	if len(p.GetPlatforms()) > 0 {
		fs = append(fs, platformFilter{platforms: p.GetPlatforms()})
	}
	if most := p.GetMaxReplicasPerNode(); most > 0 {
		fs = append(fs, maxReplicasFilter{service: g.ServiceID, most: int(min(most, unlimited))})
	}
	if ports := hostPorts(g.Spec); len(ports) > 0 {
		fs = append(fs, portFilter{ports: ports})
	}
	if g.Routable {
		fs = append(fs, gatewayFilter{})
	}
	if r := g.Spec.GetReservations(); r.GetMemoryBytes() > 0 {
		fs = append(fs, memoryFilter{need: r.GetMemoryBytes()})
	}
	if r := g.Spec.GetReservations(); r.GetNanoCpus() > 0 {
		fs = append(fs, cpuFilter{need: r.GetNanoCpus()})
	}
	return fs, nil
}

// plain is the explanation of filters whose reason needs nothing added.
type plain struct{}

func (plain) explain(why string, _ []*node) string { return why }

type readyFilter struct{ plain }

func (readyFilter) check(n *node) (int, string) {
	switch n.row.GetStatus().GetState() {
	case api.NodeStatus_READY:
	case api.NodeStatus_DOWN:
		return 0, "down"
	case api.NodeStatus_DISCONNECTED:
		return 0, "disconnected"
	default:
		return 0, "not yet heard from"
	}
	switch n.row.GetSpec().GetAvailability() {
	case api.NodeSpec_PAUSE:
		return 0, "paused (availability pause)"
	case api.NodeSpec_DRAIN:
		return 0, "drained (availability drain)"
	}
	return unlimited, ""
}

type constraintFilter struct {
	plain
	constraints []Constraint
}

func (f constraintFilter) check(n *node) (int, string) {
	if c, unmet := constraint.Unmet(f.constraints, n.facts); unmet {
		return 0, fmt.Sprintf("constraint %s not met", c)
	}
	return unlimited, ""
}

type platformFilter struct {
	plain
	platforms []*api.Platform
}

func (f platformFilter) check(n *node) (int, string) {
	var want []string
	for _, p := range f.platforms {
		osOK := p.Os == "" || strings.EqualFold(p.Os, n.facts.OS)
		archOK := p.Architecture == "" || constraint.Arch(p.Architecture) == constraint.Arch(n.facts.Arch)
		if osOK && archOK {
			return unlimited, ""
		}
		want = append(want, p.Os+"/"+constraint.Arch(p.Architecture))
	}
	return 0, "the image is not for this platform (it is for " + strings.Join(want, ", ") + ")"
}

type maxReplicasFilter struct {
	plain
	service string
	most    int
}

func (f maxReplicasFilter) check(n *node) (int, string) {
	if room := f.most - n.services[f.service]; room > 0 {
		return room, ""
	}
	return 0, fmt.Sprintf("max replicas per node (%d) reached", f.most)
}

type portFilter struct {
	plain
	ports []*api.PortConfig
}

func (f portFilter) check(n *node) (int, string) {
	for _, p := range f.ports {
		if key := portKey(p); n.ports[key] > 0 {
			return 0, fmt.Sprintf("host port %s in use", key)
		}
	}
	return 1, ""
}

// hostPorts are the ports of which a node has only one each.
func hostPorts(spec *api.ServiceSpec) []*api.PortConfig {
	var out []*api.PortConfig
	for _, p := range spec.GetEndpoint().GetPorts() {
		if p.Mode == api.PublishMode_HOST && p.PublishedPort != 0 {
			out = append(out, p)
		}
	}
	return out
}

type gatewayFilter struct{ plain }

func (gatewayFilter) check(n *node) (int, string) {
	if n.gateways < 0 {
		return 0, "no gateway subnet allocated yet"
	}
	if room := n.gateways - n.routable; room > 0 {
		return room, ""
	}
	return 0, "all addresses of the node's gateway subnet in use"
}

type memoryFilter struct{ need int64 }

func (f memoryFilter) check(n *node) (int, string) {
	return roomFor(f.need, n.freeMemory()), "not enough memory"
}

func (f memoryFilter) explain(why string, failed []*node) string {
	return fmt.Sprintf("%s (needs %s, largest free %s)", why, bytesText(f.need), bytesText(largest(failed, (*node).freeMemory)))
}

type cpuFilter struct{ need int64 }

func (f cpuFilter) check(n *node) (int, string) {
	return roomFor(f.need, n.freeCPU()), "not enough CPU"
}

func (f cpuFilter) explain(why string, failed []*node) string {
	return fmt.Sprintf("%s (needs %s, largest free %s)", why, cpuText(f.need), cpuText(largest(failed, (*node).freeCPU)))
}

func roomFor(need, free int64) int {
	if free < need {
		return 0
	}
	return int(min(free/need, unlimited))
}

func largest(nodes []*node, free func(*node) int64) int64 {
	var most int64
	for _, n := range nodes {
		most = max(most, free(n))
	}
	return most
}
