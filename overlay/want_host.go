//go:build linux

package overlay

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
	"github.com/shoal-dev/shoal/overlay/nft"
)

// host is what the daemon's own namespace should hold: gateway bridge, mesh between the nodes, ingress.
func (v *view) host() *want {
	w := &want{additive: !v.adopted}
	w.scope = netstate.Scope{Devices: map[string]bool{bridgeLink: true, meshLink: true}, RulePriority: rulePriority}
	w.flows = &flows{alive: v.alive(v.endpoints[""])}
	families := v.families()
	if len(families) == 0 {
		return w // this node has no gateway subnet (yet)
	}
	w.state.Links = []netstate.Link{
		{Name: bridgeLink, Kind: "bridge", MTU: v.mtu},
		{Name: meshLink, Kind: "vxlan", MTU: v.mtu, MAC: nodeMAC(v.self.Number),
			VXLAN: netstate.VXLAN{VNI: MeshVNI, Port: v.cfg.Port, Local: v.cfg.VTEP}},
	}
	w.after = v.hostSettings(families)
	w.state.Routes = v.loopback(meshLink)
	for _, v6 := range families {
		w.state.Addrs = append(w.state.Addrs, netstate.Addr{Dev: bridgeLink, Prefix: host(v.gateway(v6).Addr())})
		w.state.Routes = append(w.state.Routes, netstate.Route{Dst: v.gateway(v6).Masked(), Unreachable: true})
	}
	if own := v.gateway(false); own.IsValid() {
		// On a link without any address the kernel's reverse path filter refuses what would go another way, however loose
		// it is set; and it is set on most distributions.
		w.state.Addrs = append(w.state.Addrs, netstate.Addr{Dev: meshLink, Prefix: host(own.Addr())})
	}
	v.mesh(w, families)
	v.ports(w)
	v.ingress(w, families)
	return w
}

func (v *view) hostSettings(families []bool) []netns.Sysctl {
	out := []netns.Sysctl{{Path: "net/ipv4/ip_forward", Value: "1"}}
	out = append(out, v.six(bridgeLink)...)
	out = append(out, v.onLink(meshLink)...)
	out = append(out,
		// Packets from clients come by the mesh while the way back to them is elsewhere.
		netns.Sysctl{Path: "net/ipv4/conf/" + meshLink + "/rp_filter", Value: v.looseRPF})
	for _, v6 := range families {
		if v6 {
			out = append(out, netns.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"})
		}
	}
	return out
}

// onLink is what a link of ours in the daemon's namespace needs.
func (v *view) onLink(link string) []netns.Sysctl { return append(v.six(link), localnet(link)) }

// six switches IPv6 on where the administrator has switched it off for all links. Ours lead to containers and other nodes alone.
func (v *view) six(link string) []netns.Sysctl {
	if !v.gateway(true).IsValid() {
		return nil
	}
	return []netns.Sysctl{{Path: "net/ipv6/conf/" + link + "/disable_ipv6", Value: "0", Optional: true}}
}

// localnet lets a connection from 127.0.0.1 to a published port leave by a link and come back. The raw chain sees to it
// that nobody uses it from the other side.
func localnet(link string) netns.Sysctl {
	return netns.Sysctl{Path: "net/ipv4/conf/" + link + "/route_localnet", Value: "1"}
}

// loopback does the same for ::1, which the kernel otherwise takes from the loopback interface only. Packets that carry
// ::1 from outside are thrown away long before.
func (v *view) loopback(link string) []netstate.Route {
	if !v.gateway(true).IsValid() {
		return nil
	}
	h := fnv.New32a()
	h.Write([]byte(link))
	return []netstate.Route{{Dst: host(netip.IPv6Loopback()), Dev: link, Table: unix.RT_TABLE_LOCAL, Local: true, Metric: int(1<<30 | h.Sum32()>>2)}}
}

// mesh routes to the gateway subnets of the other nodes, and replies back through the node that a connection came by.
func (v *view) mesh(w *want, families []bool) {
	for _, p := range v.others() {
		v.peerEntries(w, meshLink, p, families)
		for _, g := range p.Gateways {
			g = g.Masked()
			if own := v.gateway(g.Addr().Is6()); own.IsValid() {
				w.state.Routes = append(w.state.Routes, netstate.Route{Dst: g, Via: nexthop(p.Number, g.Addr().Is6()), Dev: meshLink, Src: own.Addr()})
			}
		}
		for _, v6 := range families {
			mark := nodeMark(p.Number)
			w.state.Routes = append(w.state.Routes, netstate.Route{Dst: anyPrefix(v6), Via: nexthop(p.Number, v6), Dev: meshLink, Table: int(mark)})
			w.state.Rules = append(w.state.Rules, netstate.Rule{V6: v6, Priority: rulePriority, Mark: mark, Table: int(mark)})
		}
	}
}

// ports are the containers' links to the gateway network. They are routed and no ports of the bridge: where
// br_netfilter is loaded, a bridge would deliver what we translate by itself and past our rules.
func (v *view) ports(w *want) {
	taken, owners := map[netip.Addr]bool{}, v.owners("")
	for _, c := range v.claims {
		if len(c.Gateway) == 0 {
			continue
		}
		x := v.gatewayWire(c)
		w.wires = append(w.wires, x)
		w.scope.Devices[x.link] = true
		w.state.Links = append(w.state.Links, netstate.Link{Name: x.link, MTU: x.mtu, MAC: x.macOut})
		w.after = append(w.after, v.onLink(x.link)...)
		w.state.Routes = append(w.state.Routes, v.loopback(x.link)...)
		for _, g := range c.Gateway {
			a := g.Addr().Unmap()
			if taken[a] || !holds(owners, c, a) {
				continue
			}
			taken[a] = true
			w.state.Routes = append(w.state.Routes, netstate.Route{Dst: host(a), Dev: x.link})
			w.state.Neighs = append(w.state.Neighs, netstate.Neigh{Dev: x.link, Addr: a, MAC: x.macIn})
		}
	}
	w.scope.Keep = w.keepUnknown(portPrefix)
}

// ingress is the nftables part: published ports, masquerade, and who may talk to whom through this node.
func (v *view) ingress(w *want, families []bool) {
	peers := nft.Set{Name: "peers", Key: nft.KeyMAC, Data: nft.Mark}
	for _, p := range v.others() {
		if key, err := nft.MACKey(nodeMAC(p.Number)); err == nil {
			peers.Elements = append(peers.Elements, nft.Element{Key: key, Mark: nodeMark(p.Number)})
		}
	}
	w.table.Sets = []nft.Set{peers}
	// What tunnels carry is tracked inside; tracking the tunnels too is work for nothing.
	tunnels := []nft.Rule{{nft.NoTrackUDP(v.cfg.Port)}}
	raw := nft.Chain{Name: "raw", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300), Rules: tunnels}
	rawOut := nft.Chain{Name: "rawout", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookOutput, -300), Rules: slices.Clone(tunnels)}
	mark := nft.Chain{Name: "origin", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -150), Rules: []nft.Rule{
		// See straying; the client may be this node itself.
		{nft.In(portLinks), nft.Invalid(), nft.Drop()},
		{nft.In(meshLink), nft.Invalid(), nft.Drop()},
		{nft.In(meshLink), nft.New(), nft.MarkBySender(peers.Name)},
		{nft.In(portLinks), nft.Reply(), nft.ConnMark(markMask, markBase), nft.RestoreMark()},
	}}
	// The VXLAN envelope inherits the mark, and would be routed into the tunnel again.
	unmark := nft.Chain{Name: "unmark", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookPostrouting, -150), Rules: []nft.Rule{
		{nft.Out(meshLink), nft.ClearMark()},
	}}
	pre := nft.Chain{Name: "prerouting", Hook: hook(nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -100)}
	out := nft.Chain{Name: "output", Hook: hook(nftables.ChainTypeNAT, nftables.ChainHookOutput, -100)}
	in := nft.Chain{Name: "input", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookInput, -1)}
	post := nft.Chain{Name: "postrouting", Hook: hook(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100)}
	loopback := map[bool]netip.Prefix{false: netip.MustParsePrefix("127.0.0.0/8"), true: netip.MustParsePrefix("::1/128")}
	for _, v6 := range families {
		published, closed, hairpin := v.published(w, v6)
		w.table.Sets = append(w.table.Sets, published, closed, hairpin)
		gw := v.gateway(v6)
		for _, dev := range []string{portLinks, meshLink} {
			if !v6 {
				// route_localnet would let a container send to services on this node's loopback.
				raw.Rules = append(raw.Rules, nft.Rule{nft.In(dev), nft.To(loopback[v6]), nft.Drop()})
			}
			post.Rules = append(post.Rules, nft.Rule{nft.Out(dev), nft.From(loopback[v6]), nft.SNAT(gw.Addr())})
		}
		nodes := v.nodeAddrs(v6)
		w.table.Sets = append(w.table.Sets, nodes)
		// A node that comes in here and is led to a container of its own would get the answer past us.
		post.Rules = append(post.Rules, nft.Rule{nft.Out(meshLink), nft.SourceIn(v6, nodes.Name), nft.SNAT(gw.Addr())})
		pre.Rules = append(pre.Rules, nft.Rule{nft.ToLocal(), nft.PortMap(v6, published.Name)})
		out.Rules = append(out.Rules, nft.Rule{nft.ToLocal(), nft.PortMap(v6, published.Name)})
		in.Rules = append(in.Rules,
			// The port first: looking up a route for every packet that comes in would cost more than all else.
			// What is known is an answer to this node itself, which may have begun a connection at that port.
			nft.Rule{nft.PortIn(v6, closed.Name), nft.New(), nft.ToLocal(), nft.ResetTCP()},
			nft.Rule{nft.PortIn(v6, closed.Name), nft.New(), nft.ToLocal(), nft.RejectPort()})
		post.Rules = append(post.Rules,
			nft.Rule{nft.PairIn(v6, hairpin.Name), nft.SNAT(gw.Addr())},
			nft.Rule{nft.From(gw), nft.NotOut(portLinks), nft.NotOut(meshLink), nft.Masquerade()})
	}
	w.table.Chains = []nft.Chain{raw, rawOut, mark, pre, out, in, forward(), unmark, post}
}

// nodeAddrs are the known addresses of the other nodes.
func (v *view) nodeAddrs(v6 bool) nft.Set {
	set := nft.Set{Name: "nodes4", Key: nft.KeyV4}
	if v6 {
		set = nft.Set{Name: "nodes6", Key: nft.KeyV6}
	}
	seen := map[netip.Addr]bool{}
	for _, p := range v.others() {
		for _, a := range append([]netip.Addr{p.VTEP}, p.Addrs...) {
			if a = a.Unmap().WithZone(""); a.Is6() == v6 && !seen[a] {
				seen[a] = true
				set.Elements = append(set.Elements, nft.Element{Key: nft.AddrKey(a)})
			}
		}
	}
	return set
}

// forward keeps containers apart on the gateway network: they are reached through published ports only, translated
// here, or translated by the node that sent them over the mesh.
func forward() nft.Chain {
	c := nft.Chain{Name: "forward", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookForward, 0)}
	c.Rules = []nft.Rule{
		{nft.Known(), nft.Accept()},
		{nft.Translated(), nft.Accept()},
		{nft.In(meshLink), nft.Out(portLinks), nft.Accept()},
		{nft.Out(portLinks), nft.RejectAdmin()},
		{nft.Out(meshLink), nft.RejectAdmin()},
	}
	return c
}

// published makes the map of ports to chains of one family, the set of ports that nobody answers, and the hairpin set.
func (v *view) published(w *want, v6 bool) (ports, closed, hairpin nft.Set) {
	suffix, pair := "4", nft.KeyV4Pair
	if v6 {
		suffix, pair = "6", nft.KeyV6Pair
	}
	ports = nft.Set{Name: "ports" + suffix, Key: nft.KeyPort, Data: nft.Verdict}
	closed = nft.Set{Name: "closed" + suffix, Key: nft.KeyPort}
	hairpin = nft.Set{Name: "hairpin" + suffix, Key: pair}
	seen := map[string]bool{}
	publish := func(owner, proto string, port, target uint16, backends []netip.Addr, elsewhere map[netip.Addr]uint16) {
		key, err := nft.PortKey(proto, port)
		if err != nil {
			v.problem("%s: %v", owner, err)
			return
		}
		if seen[key.String()] {
			v.problem("%s: port %d/%s is published by another on this node", owner, port, proto)
			return
		}
		seen[key.String()] = true
		w.flows.add(flowKey{proto: proto, port: port, v6: v6}, backends)
		if len(backends) == 0 {
			closed.Elements = append(closed.Elements, nft.Element{Key: key})
			return
		}
		chain := nft.ContentChain("port"+suffix, fmt.Sprint(proto, port), leadTo(proto, target, backends, elsewhere)...)
		w.table.Content = append(w.table.Content, chain)
		ports.Elements = append(ports.Elements, nft.Element{Key: key, Chain: chain.Name})
	}
	self, owners := map[netip.Addr]bool{}, v.owners("")
	for _, c := range v.claims {
		for _, g := range c.Gateway {
			a := g.Addr().Unmap()
			if a.Is6() != v6 || !holds(owners, c, a) {
				continue
			}
			if !self[a] {
				self[a] = true
				hairpin.Elements = append(hairpin.Elements, nft.Element{Key: nft.SelfKey(a)})
			}
			for _, h := range c.HostPorts {
				w.flows.alive[a] = true
				publish("container "+c.ID, h.Protocol, h.Host, h.Target, []netip.Addr{a}, nil)
			}
		}
	}
	grouped := v.byService("")
	for _, s := range v.services {
		for _, p := range s.Ports {
			publish("service "+s.Name, p.Protocol, p.Published, p.Target, v.backends(grouped[s.ID], v6, true), otherTargets(grouped[s.ID], p))
		}
	}
	for _, e := range v.endpoints[""] { // before the container is handed again after a restart
		for _, a := range e.Addrs {
			if a = a.Unmap(); e.NodeID == v.cfg.NodeID && a.Is6() == v6 && !self[a] {
				self[a] = true
				hairpin.Elements = append(hairpin.Elements, nft.Element{Key: nft.SelfKey(a)})
			}
		}
	}
	for _, g := range v.self.Gateways {
		if g.Addr().Is6() == v6 {
			w.flows.within = append(w.flows.within, g.Masked())
		}
	}
	for _, p := range v.others() {
		for _, g := range p.Gateways {
			if g.Addr().Is6() == v6 {
				w.flows.within = append(w.flows.within, g.Masked())
			}
		}
	}
	return ports, closed, hairpin
}

// otherTargets are the addresses of endpoints that serve a port at another target than the service says.
func otherTargets(endpoints []Endpoint, port Port) map[netip.Addr]uint16 {
	out := map[netip.Addr]uint16{}
	for _, e := range endpoints {
		for _, p := range e.Ports {
			for _, a := range e.Addrs {
				if p.Protocol == port.Protocol && p.Published == port.Published {
					out[a.Unmap()] = p.Target
				}
			}
		}
	}
	return out
}

// leadTo balances over backends. A target port is the same for all that one rule leads to: in the middle of an update that changes
// it there are several rules, each with the chance that its part of the backends has.
func leadTo(proto string, target uint16, backends []netip.Addr, elsewhere map[netip.Addr]uint16) (rules []nft.Rule) {
	parts := map[uint16][]netip.Addr{}
	for _, a := range backends {
		at := cmp.Or(elsewhere[a], target)
		parts[at] = append(parts[at], a)
	}
	left := len(backends)
	for _, at := range slices.Sorted(maps.Keys(parts)) {
		rule := nft.Rule{nft.Protocol(proto)}
		if n := len(parts[at]); n < left {
			rule = append(rule, nft.Chance(n, left))
			left -= n
		}
		rules = append(rules, append(rule, nft.DNAT(parts[at], at)))
	}
	return rules
}
