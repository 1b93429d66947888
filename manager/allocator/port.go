package allocator

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// Published ports that nobody chose come from here.
const (
	firstPort = 30000
	lastPort  = 32767
)

// ports returns the service's ports with the published ones filled in.
func (p *pass) ports(svc *api.Service) ([]*api.PortConfig, error) {
	taken := taken{book: p.book(), self: svc.Id}
	var out []*api.PortConfig
	for _, want := range svc.GetSpec().GetEndpoint().GetPorts() {
		got := proto.CloneOf(want)
		got.Protocol = protocol(want)
		switch {
		case got.PublishedPort != 0:
			if by, bad := taken.by(key(got)); bad && by.conflicts(got.Mode) {
				return nil, fmt.Errorf("port %d/%s is already published by service %s: choose another", got.PublishedPort, got.Protocol, by.name)
			}
		case got.Mode == api.PublishMode_HOST:
			// The node takes one that is free there when the task starts.
		default:
			got.PublishedPort = had(svc, got)
			if _, bad := taken.by(key(got)); bad || got.PublishedPort == 0 {
				got.PublishedPort = freePort(taken, svc, got.Protocol)
			}
			if got.PublishedPort == 0 {
				return nil, fmt.Errorf("no free %s port between %d and %d for target port %d: publish it under a port of your choice",
					got.Protocol, firstPort, lastPort, got.TargetPort)
			}
		}
		if got.Mode == api.PublishMode_INGRESS {
			taken.own = append(taken.own, claim{key(got), holder{svc.Id, svc.GetSpec().GetName(), got.Mode}})
		}
		out = append(out, got)
	}
	return out, nil
}

// portKey is a port on a node. holder is who has it.
type (
	portKey struct {
		protocol string
		port     uint32
	}
	holder struct {
		id, name string
		mode     api.PublishMode
	}
	claim struct {
		portKey
		holder
	}
)

// conflicts: a port on every node tolerates no other use. Two services may use one port on
// the nodes of their tasks; the scheduler keeps those apart.
func (h holder) conflicts(mode api.PublishMode) bool {
	return h.mode == api.PublishMode_INGRESS || mode == api.PublishMode_INGRESS
}

// book is who has which ports, as this pass leaves the services. A port may have several holders, each on its own nodes.
func (p *pass) book() map[portKey][]holder {
	if p.published == nil {
		p.published = map[portKey][]holder{}
		for _, svc := range p.services {
			p.enter(svc)
		}
	}
	return p.published
}

func (p *pass) enter(svc *api.Service) {
	if svc.PendingDelete {
		return
	}
	for _, c := range svc.GetEndpoint().GetPorts() {
		if c.PublishedPort != 0 {
			p.published[key(c)] = append(p.published[key(c)], holder{svc.Id, svc.GetSpec().GetName(), c.Mode})
		}
	}
}

func (p *pass) strike(svc *api.Service) {
	for _, c := range svc.GetEndpoint().GetPorts() {
		p.published[key(c)] = slices.DeleteFunc(p.published[key(c)], func(h holder) bool { return h.id == svc.Id })
	}
}

// taken is what one service finds: the ports of others, and those that it was given a moment ago.
type taken struct {
	book map[portKey][]holder
	self string
	own  []claim
}

// by returns who has a port, one that has it on every node first.
func (t taken) by(k portKey) (found holder, ok bool) {
	for _, c := range t.own {
		if c.portKey == k {
			return c.holder, true
		}
	}
	for _, h := range t.book[k] {
		if h.id != t.self && (!ok || h.mode == api.PublishMode_INGRESS) {
			found, ok = h, true
		}
	}
	return found, ok
}

// had returns the number that this port was given before, so that an update does not move it.
func had(svc *api.Service, want *api.PortConfig) uint32 {
	i := slices.IndexFunc(svc.GetEndpoint().GetPorts(), func(c *api.PortConfig) bool {
		return c.Mode == want.Mode && c.TargetPort == want.TargetPort && protocol(c) == want.Protocol && c.Name == want.Name
	})
	if i < 0 {
		return 0
	}
	return svc.Endpoint.Ports[i].PublishedPort
}

func freePort(taken taken, svc *api.Service, protocol string) uint32 {
	wished := map[uint32]bool{}
	for _, c := range svc.GetSpec().GetEndpoint().GetPorts() {
		wished[c.PublishedPort] = true
	}
	for port := uint32(firstPort); port <= lastPort; port++ {
		if _, bad := taken.by(portKey{protocol, port}); !bad && !wished[port] {
			return port
		}
	}
	return 0
}

func protocol(c *api.PortConfig) string {
	if c.Protocol == "" {
		return "tcp"
	}
	return strings.ToLower(c.Protocol)
}

func key(c *api.PortConfig) portKey { return portKey{protocol(c), c.PublishedPort} }
