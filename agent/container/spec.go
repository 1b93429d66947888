//go:build linux

package container

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
	"github.com/shoal-dev/shoal/proto/known"
)

// Name is the name of a task's container: SERVICE.SLOT.TASKID, or SERVICE.NODEID.TASKID for a global service.
func Name(t *api.Task) string {
	if t.Slot == 0 {
		return t.ServiceName + "." + t.NodeId + "." + t.Id
	}
	return fmt.Sprintf("%s.%d.%s", t.ServiceName, t.Slot, t.Id)
}

// request translates task and revision into what the engine is asked for.
func (c *Controller) request() (*api.CreateContainerRequest, error) {
	t := c.task
	spec := proto.CloneOf(c.rev.Spec.GetContainer())
	if spec == nil {
		return nil, fmt.Errorf("revision %s says nothing of a container", c.rev.Id)
	}
	if field := known.Missing(spec); field != "" {
		return nil, fmt.Errorf("this node's version of Shoal does not know what the service asks for (%s): upgrade the node, or keep the service off it by a constraint", field)
	}
	if err := expandSpec(spec, placeholders(t, c.deps.Node())); err != nil {
		return nil, err
	}
	if spec.Labels == nil {
		spec.Labels = map[string]string{}
	}
	maps.Copy(spec.Labels, map[string]string{
		"shoal.service.id": t.ServiceId, "shoal.service.name": t.ServiceName,
		"shoal.task.id": t.Id, "shoal.task.name": Name(t), "shoal.node.id": t.NodeId,
	})
	mode := networkMode(t, c.rev)
	if mode == "external" {
		c.dns(spec)
	}
	return &api.CreateContainerRequest{
		Name: Name(t), Spec: spec, NetworkMode: mode, Restart: &api.LocalRestartPolicy{Name: "no"},
	}, nil
}

func expandSpec(spec *api.ContainerSpec, values map[string]string) error {
	var err error
	if spec.Hostname, err = expand(spec.Hostname, values); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	for i := range spec.Env {
		if spec.Env[i], err = expand(spec.Env[i], values); err != nil {
			return fmt.Errorf("environment: %w", err)
		}
	}
	for _, m := range spec.Mounts {
		if m.Source, err = expand(m.Source, values); err != nil {
			return fmt.Errorf("source of the mount at %s: %w", m.Target, err)
		}
	}
	return nil
}

// networkMode is host or none if the service asks for it, external if the overlay wires the container, none otherwise.
func networkMode(t *api.Task, rev *api.Revision) string {
	for _, n := range rev.Spec.GetNetworks() {
		if n.Network == "host" || n.Network == "none" {
			return n.Network
		}
	}
	if len(t.Networks) > 0 || len(t.GatewayAddresses) > 0 {
		return "external"
	}
	return "none"
}

// dns makes the cluster's name server the only one: it answers names of services, and asks those that the service names (see
// Attachment), or the host's, for all others. Beside it they would be asked for names of services as well, by musl at the same
// time. A name without a dot is a service's before it is anything in a search domain.
func (c *Controller) dns(spec *api.ContainerSpec) {
	if spec.Dns == nil {
		spec.Dns = &api.DNSConfig{}
	}
	spec.Dns.Nameservers = c.deps.Nameservers(c.task)
	if !slices.ContainsFunc(spec.Dns.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		spec.Dns.Options = append(spec.Dns.Options, "ndots:0")
	}
}

// Attachment is how a task's container is wired; nil if the overlay has no part in it. The revision may be unknown (nil).
func Attachment(t *api.Task, rev *api.Revision, row *api.Container) (*overlay.Attachment, error) {
	if row.NetworkMode != "external" {
		return nil, nil
	}
	a := &overlay.Attachment{ID: row.Id, TaskID: t.Id, NetNS: row.Netns}
	for _, n := range t.Networks {
		an := overlay.AttachedNetwork{NetworkID: n.NetworkId}
		for _, cidr := range n.Addresses {
			p, err := netip.ParsePrefix(cidr)
			if err != nil {
				return nil, fmt.Errorf("address of the task on network %s: %w", n.NetworkId, err)
			}
			an.Addrs = append(an.Addrs, p.Addr())
		}
		a.Networks = append(a.Networks, an)
	}
	for _, text := range rev.GetSpec().GetContainer().GetDns().GetNameservers() {
		if r, err := netip.ParseAddr(text); err == nil {
			a.Resolvers = append(a.Resolvers, r)
		}
	}
	for _, cidr := range t.GatewayAddresses {
		p, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, fmt.Errorf("gateway address of the task: %w", err)
		}
		a.Gateway = append(a.Gateway, p)
	}
	for _, p := range t.HostPorts {
		a.HostPorts = append(a.HostPorts, overlay.HostPort{
			Protocol: protocol(p), Host: uint16(p.PublishedPort), Target: uint16(p.TargetPort),
		})
	}
	return a, nil
}

// Ports are the task's ports on this node as its status tells them.
func Ports(t *api.Task) []*api.PortBinding {
	var out []*api.PortBinding
	for _, p := range t.HostPorts {
		out = append(out, &api.PortBinding{Protocol: protocol(p), ContainerPort: p.TargetPort, HostPort: p.PublishedPort})
	}
	return out
}

func protocol(p *api.PortConfig) string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// Example is what some node's engine would be asked for: the request for a task of a service that no node has yet. Managers look at
// it before they take the service.
func Example(s *api.ServiceSpec) (*api.CreateContainerRequest, error) {
	t := &api.Task{Id: id.New(), ServiceId: id.New(), ServiceName: s.Name, NodeId: id.New(), GatewayAddresses: []string{"192.0.2.1/32"}}
	if !s.GetMode().GetGlobal() {
		t.Slot = 1
	}
	c := New(Deps{
		Node:        func() Node { return Node{ID: t.NodeId, Hostname: "node"} },
		Nameservers: func(*api.Task) []string { return nil },
	}, t, &api.Revision{Spec: s})
	return c.request()
}
