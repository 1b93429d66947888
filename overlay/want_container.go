//go:build linux

package overlay

import (
	"fmt"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
)

// containerSettings prepare a container's namespace for interfaces that are told everything.
var containerSettings = []netns.Sysctl{
	{Path: "net/ipv4/conf/all/accept_redirects", Value: "0"},
	{Path: "net/ipv4/conf/default/accept_redirects", Value: "0"},
	{Path: "net/ipv6/conf/default/disable_ipv6", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/accept_ra", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/accept_redirects", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/accept_dad", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/addr_gen_mode", Value: "1", Optional: true},
}

func (v *view) networkWire(c *Attachment, i int) wire {
	return wire{claim: c, link: linkName(vethPrefix, c.ID), inside: fmt.Sprintf("eth%d", i), macOut: outsideMAC, macIn: insideMAC, mtu: v.mtu}
}

func (v *view) gatewayWire(c *Attachment) wire {
	return wire{claim: c, link: linkName(portPrefix, c.ID), inside: fmt.Sprintf("eth%d", len(c.Networks)), macOut: outsideMAC, macIn: insideMAC, mtu: v.mtu, gateway: true}
}

// container is what a container's own namespace should hold: every address alone on its interface, everything else
// behind our side, whose address and neighbour entry are given, so that nothing is ever asked for.
func (v *view) container(c *Attachment) *want {
	w := &want{before: containerSettings, scope: netstate.Scope{Devices: map[string]bool{}}}
	for i, at := range c.Networks {
		n, ok := v.networks[at.NetworkID]
		if !ok {
			continue
		}
		x := v.networkWire(c, i)
		w.addInterface(x)
		for _, s := range n.Subnets {
			gw := s.Gateway.Unmap()
			for _, a := range at.Addrs {
				if a = a.Unmap(); a.Is6() != gw.Is6() {
					continue
				}
				w.state.Addrs = append(w.state.Addrs, netstate.Addr{Dev: x.inside, Prefix: host(a)})
				w.state.Neighs = append(w.state.Neighs, netstate.Neigh{Dev: x.inside, Addr: gw, MAC: x.macOut})
				w.state.Routes = append(w.state.Routes,
					netstate.Route{Dst: host(gw), Dev: x.inside, Src: a},
					netstate.Route{Dst: s.Prefix.Masked(), Via: gw, Dev: x.inside, Src: a})
			}
		}
	}
	if len(c.Gateway) == 0 {
		return w
	}
	x := v.gatewayWire(c)
	w.addInterface(x)
	for _, g := range c.Gateway {
		a, gw := g.Addr().Unmap(), v.gateway(g.Addr().Unmap().Is6()).Addr()
		if !gw.IsValid() {
			continue
		}
		w.state.Addrs = append(w.state.Addrs, netstate.Addr{Dev: x.inside, Prefix: host(a)})
		w.state.Neighs = append(w.state.Neighs, netstate.Neigh{Dev: x.inside, Addr: gw, MAC: x.macOut})
		w.state.Routes = append(w.state.Routes,
			netstate.Route{Dst: host(gw), Dev: x.inside, Src: a},
			netstate.Route{Dst: anyPrefix(a.Is6()), Via: gw, Dev: x.inside, Src: a})
	}
	return w
}

func (w *want) addInterface(x wire) {
	w.state.Links = append(w.state.Links, netstate.Link{Name: x.inside, MTU: x.mtu, MAC: x.macIn})
	w.scope.Devices[x.inside] = true
}
