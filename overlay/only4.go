package overlay

import (
	"net/netip"
	"slices"
)

// A kernel may have no IPv6 at all (ipv6.disable=1). Its node then takes part in what networks have of IPv4.

func (d *Desired) only4() *Desired {
	out := *d
	out.Networks = slices.Clone(d.Networks)
	for i := range out.Networks {
		out.Networks[i].Subnets = slices.DeleteFunc(slices.Clone(d.Networks[i].Subnets), func(s Subnet) bool { return is6(s.Prefix.Addr()) })
	}
	out.Endpoints = slices.Clone(d.Endpoints)
	for i := range out.Endpoints {
		out.Endpoints[i].Addrs = addrs4(d.Endpoints[i].Addrs)
	}
	out.Services = slices.Clone(d.Services)
	for i := range out.Services {
		out.Services[i].VIPs = map[string][]netip.Addr{}
		for network, vips := range d.Services[i].VIPs {
			out.Services[i].VIPs[network] = addrs4(vips)
		}
	}
	out.Peers = slices.Clone(d.Peers)
	for i := range out.Peers {
		out.Peers[i].Addrs, out.Peers[i].Gateways = addrs4(d.Peers[i].Addrs), prefixes4(d.Peers[i].Gateways)
	}
	return &out
}

func (a Attachment) only4() Attachment {
	a.Networks = slices.Clone(a.Networks)
	for i := range a.Networks {
		a.Networks[i].Addrs = addrs4(a.Networks[i].Addrs)
	}
	a.Gateway = prefixes4(a.Gateway)
	return a
}

func is6(a netip.Addr) bool { return a.Unmap().Is6() }

func addrs4(all []netip.Addr) []netip.Addr { return slices.DeleteFunc(slices.Clone(all), is6) }

func prefixes4(all []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return is6(p.Addr()) })
}
