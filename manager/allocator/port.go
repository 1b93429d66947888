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
	taken := p.portsOfOthers(svc)
	var out []*api.PortConfig
	for _, want := range svc.GetSpec().GetEndpoint().GetPorts() {
		got := proto.CloneOf(want)
		got.Protocol = protocol(want)
		switch {
		case got.PublishedPort != 0:
			if by, bad := taken[key(got.Protocol, got.PublishedPort)]; bad && by.conflicts(got.Mode) {
				return nil, fmt.Errorf("port %d/%s is already published by service %s: choose another", got.PublishedPort, got.Protocol, by.service)
			}
		case got.Mode == api.PublishMode_HOST:
			// The node takes one that is free there when the task starts.
		default:
			got.PublishedPort = had(svc, got)
			if _, bad := taken[key(got.Protocol, got.PublishedPort)]; bad || got.PublishedPort == 0 {
				got.PublishedPort = freePort(taken, svc, got.Protocol)
			}
			if got.PublishedPort == 0 {
				return nil, fmt.Errorf("no free %s port between %d and %d for target port %d: publish it under a port of your choice",
					got.Protocol, firstPort, lastPort, got.TargetPort)
			}
		}
		if got.Mode == api.PublishMode_INGRESS {
			taken[key(got.Protocol, got.PublishedPort)] = holder{svc.GetSpec().GetName(), got.Mode}
		}
		out = append(out, got)
	}
	return out, nil
}

// holder is who has a port.
type holder struct {
	service string
	mode    api.PublishMode
}

// conflicts: a port on every node tolerates no other use. Two services may use one port on
// the nodes of their tasks; the scheduler keeps those apart.
func (h holder) conflicts(mode api.PublishMode) bool {
	return h.mode == api.PublishMode_INGRESS || mode == api.PublishMode_INGRESS
}

// portsOfOthers are the ports that other services have.
func (p *pass) portsOfOthers(svc *api.Service) map[string]holder {
	taken := map[string]holder{}
	for _, other := range p.services {
		if other.Id == svc.Id || other.PendingDelete {
			continue
		}
		for _, c := range other.GetEndpoint().GetPorts() {
			if c.PublishedPort != 0 {
				taken[key(c.Protocol, c.PublishedPort)] = holder{other.GetSpec().GetName(), c.Mode}
			}
		}
	}
	return taken
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

func freePort(taken map[string]holder, svc *api.Service, protocol string) uint32 {
	wished := map[uint32]bool{}
	for _, c := range svc.GetSpec().GetEndpoint().GetPorts() {
		wished[c.PublishedPort] = true
	}
	for port := uint32(firstPort); port <= lastPort; port++ {
		if _, bad := taken[key(protocol, port)]; !bad && !wished[port] {
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

func key(protocol string, port uint32) string { return fmt.Sprintf("%d/%s", port, protocol) }
