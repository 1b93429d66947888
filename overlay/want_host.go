//go:build linux

package overlay

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"

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
		{Name: bridgeLink, Kind: "bridge", MTU: v.mtu, MAC: bridgeMAC},
		{Name: meshLink, Kind: "vxlan", MTU: v.mtu, MAC: nodeMAC(v.self.Number),
			VXLAN: netstate.VXLAN{VNI: MeshVNI, Port: v.cfg.Port, Local: v.cfg.VTEP}},
	}
	w.after = v.hostSettings(families)
	for _, v6 := range families {
		w.state.Addrs = append(w.state.Addrs, netstate.Addr{Dev: bridgeLink, Prefix: v.gateway(v6)})
	}
	v.mesh(w, families)
	v.ports(w)
	v.ingress(w, families)
	return w
}

func (v *view) hostSettings(families []bool) []netns.Sysctl {
	out := []netns.Sysctl{{Path: "net/ipv4/ip_forward", Value: "1"}}
	for _, dev := range []string{bridgeLink, meshLink} {
		conf := "net/ipv4/conf/" + dev + "/"
		out = append(out,
			// Replies to a client may leave by another link than its packets came by.
			netns.Sysctl{Path: conf + "rp_filter", Value: v.looseRPF},
			// A connection from 127.0.0.1 to a published port comes back as one; see the raw chain for the other side.
			netns.Sysctl{Path: conf + "route_localnet", Value: "1"},
			netns.Sysctl{Path: conf + "send_redirects", Value: "0"})
	}
	for _, v6 := range families {
		if v6 {
			out = append(out, netns.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"})
		}
	}
	return out
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
			// Without the interface the packet in its VXLAN envelope, which inherits the mark, would be sent in again.
			w.state.Rules = append(w.state.Rules, netstate.Rule{V6: v6, Priority: rulePriority, IifName: bridgeLink, Mark: mark, Table: int(mark)})
		}
	}
}

// ports are the containers on the gateway bridge. Nothing is learnt or flooded there: every address has its entry.
func (v *view) ports(w *want) {
	for _, c := range v.claims {
		if len(c.Gateway) == 0 {
			continue
		}
		x := v.gatewayWire(c)
		w.wires = append(w.wires, x)
		w.scope.Devices[x.link] = true
		w.state.Links = append(w.state.Links, netstate.Link{Name: x.link, MTU: x.mtu})
		w.state.FDB = append(w.state.FDB, netstate.FDB{Dev: x.link, MAC: x.macIn})
		for _, g := range c.Gateway {
			w.state.Neighs = append(w.state.Neighs, netstate.Neigh{Dev: bridgeLink, Addr: g.Addr().Unmap(), MAC: x.macIn})
		}
	}
	w.scope.Keep = w.keepUnknown(portPrefix)
	if w.additive {
		// The neighbours of containers that were not named yet are on the bridge itself.
		keep := w.scope.Keep
		w.scope.Keep = func(dev string) bool { return dev == bridgeLink || keep(dev) }
	}
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
	raw := nft.Chain{Name: "raw", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300)}
	mark := nft.Chain{Name: "mark", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -150), Rules: []nft.Rule{
		{nft.In(meshLink), nft.New(), nft.MarkBySender(peers.Name)},
		{nft.In(bridgeLink), nft.Reply(), nft.ConnMark(markMask, markBase), nft.RestoreMark()},
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
		for _, dev := range []string{bridgeLink, meshLink} {
			if !v6 {
				// route_localnet would let a container send to services on this node's loopback.
				raw.Rules = append(raw.Rules, nft.Rule{nft.In(dev), nft.To(loopback[v6]), nft.Drop()})
			}
			post.Rules = append(post.Rules, nft.Rule{nft.Out(dev), nft.From(loopback[v6]), nft.SNAT(gw.Addr())})
		}
		pre.Rules = append(pre.Rules, nft.Rule{nft.ToLocal(), nft.PortMap(v6, published.Name)})
		out.Rules = append(out.Rules, nft.Rule{nft.ToLocal(), nft.PortMap(v6, published.Name)})
		in.Rules = append(in.Rules,
			nft.Rule{nft.ToLocal(), nft.PortIn(v6, closed.Name), nft.ResetTCP()},
			nft.Rule{nft.ToLocal(), nft.PortIn(v6, closed.Name), nft.RejectPort()})
		post.Rules = append(post.Rules,
			nft.Rule{nft.PairIn(v6, hairpin.Name), nft.SNAT(gw.Addr())},
			nft.Rule{nft.From(gw), nft.NotOut(bridgeLink), nft.NotOut(meshLink), nft.Masquerade()})
	}
	w.table.Chains = []nft.Chain{raw, mark, pre, out, in, forward(), post}
}

// forward keeps containers apart on the gateway network: they are reached through published ports only, translated
// here, or translated by the node that sent them over the mesh.
func forward() nft.Chain {
	c := nft.Chain{Name: "forward", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookForward, 0)}
	c.Rules = []nft.Rule{
		{nft.Known(), nft.Accept()},
		{nft.Translated(), nft.Accept()},
		{nft.In(meshLink), nft.Out(bridgeLink), nft.Accept()},
		{nft.Out(bridgeLink), nft.RejectAdmin()},
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
	publish := func(owner, proto string, port, target uint16, backends []netip.Addr) {
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
		chain := nft.ContentChain("port"+suffix, fmt.Sprint(proto, port), nft.Rule{nft.DNAT(backends, target)})
		w.table.Content = append(w.table.Content, chain)
		ports.Elements = append(ports.Elements, nft.Element{Key: key, Chain: chain.Name})
	}
	self := map[netip.Addr]bool{}
	for _, c := range v.claims {
		for _, g := range c.Gateway {
			a := g.Addr().Unmap()
			if a.Is6() != v6 {
				continue
			}
			if !self[a] {
				self[a] = true
				hairpin.Elements = append(hairpin.Elements, nft.Element{Key: nft.SelfKey(a)})
			}
			for _, h := range c.HostPorts {
				w.flows.alive[a] = true
				publish("container "+c.ID, h.Protocol, h.Host, h.Target, []netip.Addr{a})
			}
		}
	}
	grouped := v.byService("")
	for _, s := range v.services {
		for _, p := range s.Ports {
			publish("service "+s.Name, p.Protocol, p.Published, p.Target, v.backends(grouped[s.ID], v6, true))
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
