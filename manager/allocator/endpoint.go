package allocator

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// allocateServices makes every service's endpoint what its spec asks for. If something cannot be had, the
// endpoint stays as it was and the reason is in the row.
func (p *pass) allocateServices() error {
	for i, svc := range p.services {
		now, reason := svc.Endpoint, ""
		if svc.PendingDelete {
			// Its ports are free at once: nobody is to come in any more. The virtual IPs stay
			// its own until the row is gone, clients may have them in their caches.
			if reason = svc.AllocationError; len(now.GetPorts()) > 0 {
				now = &api.Endpoint{VirtualIps: now.VirtualIps}
			}
		} else if e, err := p.endpoint(svc); err != nil {
			reason = err.Error()
		} else {
			now = e
		}
		if proto.Equal(now, svc.Endpoint) && reason == svc.AllocationError {
			continue
		}
		changed := proto.CloneOf(svc)
		changed.Endpoint, changed.AllocationError = now, reason
		p.book()
		p.strike(svc)
		p.enter(changed)
		if err := save(p, p.tx.Services(), p.services, i, changed); err != nil {
			return err
		}
	}
	return p.noteGiven()
}

// noteGiven keeps which addresses were given last. Where a service was, others are not for as long as there are addresses that
// nobody had meanwhile: clients may have its own in their caches.
func (p *pass) noteGiven() error {
	for i, n := range p.networks {
		last := ipam.LastGiven(p.hosts[n.Id])
		if p.hosts[n.Id] == nil || slices.Equal(last, n.LastGiven) {
			continue
		}
		changed := proto.CloneOf(n)
		changed.LastGiven = last
		if err := save(p, p.tx.Networks(), p.networks, i, changed); err != nil {
			return err
		}
	}
	return nil
}

// endpoint returns what the service should have, keeping what it has. nil: it needs nothing.
func (p *pass) endpoint(svc *api.Service) (*api.Endpoint, error) {
	vips, err := p.virtualIPs(svc)
	if err != nil {
		return nil, err
	}
	ports, err := p.ports(svc)
	if err != nil {
		return nil, err
	}
	if svc.Endpoint == nil && !needsEndpoint(svc) {
		return nil, nil
	}
	return &api.Endpoint{VirtualIps: vips, Ports: ports}, nil
}

// needsEndpoint: the orchestrator waits for the endpoint of such a service, even if it turns out empty.
func needsEndpoint(svc *api.Service) bool {
	return len(svc.GetSpec().GetEndpoint().GetPorts()) > 0 ||
		slices.ContainsFunc(svc.GetSpec().GetNetworks(), func(a *api.NetworkAttachmentSpec) bool { return !nodeLocal(a.Network) })
}

func (p *pass) virtualIPs(svc *api.Service) (out []*api.VirtualIP, err error) {
	for _, a := range svc.GetSpec().GetNetworks() {
		if nodeLocal(a.Network) {
			continue
		}
		net, err := p.network(a.Network)
		if err != nil {
			return nil, err
		}
		if svc.GetSpec().GetEndpoint().GetMode() == api.EndpointSpec_DNSRR {
			continue
		}
		vip := &api.VirtualIP{NetworkId: net.Id}
		if i := slices.IndexFunc(svc.GetEndpoint().GetVirtualIps(), func(v *api.VirtualIP) bool { return v.NetworkId == net.Id }); i >= 0 {
			vip = svc.Endpoint.VirtualIps[i]
		} else if vip.Addresses, err = p.freeAddresses(net); err != nil {
			return nil, err
		}
		out = append(out, vip)
	}
	return append(out, p.lingering(svc, out)...), nil
}

// lingering are the virtual IPs that the spec has no use for any more, while tasks of before answer at them: an update takes those
// away one by one.
func (p *pass) lingering(svc *api.Service, wanted []*api.VirtualIP) (out []*api.VirtualIP) {
	for _, vip := range svc.GetEndpoint().GetVirtualIps() {
		if !slices.Contains(wanted, vip) && p.answered(svc, vip.NetworkId) {
			out = append(out, vip)
		}
	}
	return out
}

// answered: a task of another revision than the service's is on a network and has not ended.
func (p *pass) answered(svc *api.Service, network string) bool {
	for t := range p.tx.Tasks().All(store.ByService(svc.Id)) {
		on := slices.ContainsFunc(t.Networks, func(a *api.NetworkAttachment) bool { return a.NetworkId == network })
		if on && t.Revision != svc.Revision && t.GetStatus().GetState() <= api.TaskState_RUNNING {
			return true
		}
	}
	return false
}

// nodeLocal networks have no addresses of the cluster's.
func nodeLocal(network string) bool { return network == "host" || network == "none" }

// network returns an allocated network or why it cannot be used.
func (p *pass) network(id string) (*api.Network, error) {
	i := slices.IndexFunc(p.networks, func(n *api.Network) bool { return n.Id == id })
	if i < 0 {
		return nil, fmt.Errorf("network %s does not exist", id)
	}
	n := p.networks[i]
	if n.Vni == 0 {
		return nil, fmt.Errorf("waiting for network %s: %s", n.GetSpec().GetName(), n.AllocationError)
	}
	return n, nil
}

// freeAddresses takes one address per family of a network.
func (p *pass) freeAddresses(n *api.Network) (out []string, err error) {
	if p.hosts[n.Id] == nil {
		if p.hosts[n.Id], err = p.usage(n); err != nil {
			return nil, err
		}
	}
	for _, s := range p.hosts[n.Id] {
		a, ok := s.Next()
		if !ok {
			return nil, fmt.Errorf("network %s has no free address in %s: take services off it or use a larger subnet", n.GetSpec().GetName(), s.Prefix)
		}
		out = append(out, a.String())
	}
	return out, nil
}

// usage reads from the rows which addresses of a network are taken.
func (p *pass) usage(n *api.Network) ([]ipam.Subnet, error) {
	out, err := ipam.ParseSubnets(n.Ipam, n.LastGiven)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.GetSpec().GetName(), err)
	}
	for _, s := range out {
		for _, svc := range p.services {
			for _, v := range svc.GetEndpoint().GetVirtualIps() {
				if v.NetworkId == n.Id {
					s.Take(true, v.Addresses...)
				}
			}
		}
		for t := range p.tx.Tasks().All(store.ByNetwork(n.Id)) {
			for _, a := range t.Networks {
				if a.NetworkId == n.Id {
					s.Take(holds(t), a.Addresses...)
				}
			}
		}
	}
	return out, nil
}

// holds: an ended task no longer has its addresses. An orphaned one may still use them where
// nobody can reach it.
func holds(t *api.Task) bool {
	s := t.GetStatus().GetState()
	return s <= api.TaskState_RUNNING || s == api.TaskState_ORPHANED
}
