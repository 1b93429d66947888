//go:build linux

package agent

import (
	"cmp"
	"net/netip"

	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

// desired is the view in the overlay's terms. What cannot be parsed is left out: managers check what they store.
func (v *view) desired() overlay.Desired {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := overlay.Desired{
		NodeID:    v.node,
		Networks:  make([]overlay.Network, 0, len(v.networks)),
		Endpoints: make([]overlay.Endpoint, 0, len(v.endpoints)),
		Services:  make([]overlay.Service, 0, len(v.services)),
		Peers:     make([]overlay.Peer, 0, len(v.peers)),
	}
	for _, n := range v.networks {
		d.Networks = append(d.Networks, network(n))
	}
	for _, e := range v.endpoints {
		d.Endpoints = append(d.Endpoints, overlay.Endpoint{
			NetworkID: e.NetworkId, TaskID: e.TaskId, ServiceID: e.ServiceId, NodeID: e.NodeId,
			Addrs: addrs(e.Addresses), Name: e.Name, Aliases: e.Aliases, Ready: e.Ready,
			Ports: ports(e.Ports),
		})
	}
	for _, s := range v.services {
		d.Services = append(d.Services, service(s))
	}
	for _, p := range v.peers {
		d.Peers = append(d.Peers, peer(p))
	}
	return d
}

func network(n *api.Network) overlay.Network {
	out := overlay.Network{ID: n.Id, Name: n.Spec.GetName(), VNI: n.Vni, Internal: n.Spec.GetInternal()}
	for _, c := range n.Ipam {
		prefix, err := netip.ParsePrefix(c.Subnet)
		if err != nil {
			continue
		}
		gateway, _ := netip.ParseAddr(c.Gateway)
		out.Subnets = append(out.Subnets, overlay.Subnet{Prefix: prefix.Masked(), Gateway: gateway})
	}
	return out
}

func service(s *api.ServiceView) overlay.Service {
	out := overlay.Service{
		ID: s.Id, Name: s.Name, DNSRR: s.Dnsrr, VIPs: map[string][]netip.Addr{}, Aliases: map[string][]string{},
	}
	for _, v := range s.VirtualIps {
		out.VIPs[v.NetworkId] = addrs(v.Addresses)
	}
	for _, n := range s.Networks {
		if len(n.Aliases) > 0 {
			out.Aliases[n.Network] = n.Aliases
		}
	}
	out.Ports = ports(s.Ports)
	return out
}

func ports(rows []*api.PortConfig) (out []overlay.Port) {
	for _, p := range rows {
		out = append(out, overlay.Port{
			Protocol: cmp.Or(p.Protocol, "tcp"), Target: uint16(p.TargetPort), Published: uint16(p.PublishedPort),
		})
	}
	return out
}

func peer(p *api.PeerView) overlay.Peer {
	vtep, _ := netip.ParseAddr(p.DataPathAddr)
	out := overlay.Peer{NodeID: p.NodeId, Hostname: p.Hostname, VTEP: vtep, Addrs: addrs(p.Addresses), Number: p.Number, Down: p.Down}
	for _, g := range p.GatewaySubnets {
		if prefix, err := netip.ParsePrefix(g); err == nil {
			out.Gateways = append(out.Gateways, prefix.Masked())
		}
	}
	return out
}

func addrs(texts []string) []netip.Addr {
	out := make([]netip.Addr, 0, len(texts))
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, a)
		}
	}
	return out
}
