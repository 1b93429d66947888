//go:build linux

package overlay

import (
	"net/netip"

	"github.com/google/nftables"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
	"github.com/shoal-dev/shoal/overlay/nft"
)

// sandboxSettings make a fresh sandbox a router that says nothing by itself. Settings named default are what links
// made later begin with.
var sandboxSettings = []netns.Sysctl{
	{Path: "net/ipv4/ip_forward", Value: "1"},
	{Path: "net/ipv4/conf/all/rp_filter", Value: "0"},
	{Path: "net/ipv4/conf/default/rp_filter", Value: "0"},
	{Path: "net/ipv4/conf/all/send_redirects", Value: "0"},
	{Path: "net/ipv4/conf/default/send_redirects", Value: "0"},
	{Path: "net/ipv6/conf/all/disable_ipv6", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/disable_ipv6", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/accept_ra", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/accept_dad", Value: "0", Optional: true},
	{Path: "net/ipv6/conf/default/addr_gen_mode", Value: "1", Optional: true},
	{Path: "net/ipv6/conf/all/forwarding", Value: "1", Optional: true},
}

// network is what the sandbox of n should hold.
func (v *view) network(n Network) *want {
	w := &want{before: sandboxSettings, additive: !v.adopted}
	w.state.Links = []netstate.Link{{Name: "lo"}, {
		Name: vxlanLink, Kind: "vxlan", MTU: v.mtu, MAC: nodeMAC(v.self.Number),
		VXLAN: netstate.VXLAN{VNI: n.VNI, Port: v.cfg.Port, Local: v.cfg.VTEP},
	}}
	for _, s := range n.Subnets {
		w.state.Addrs = append(w.state.Addrs, netstate.Addr{Dev: "lo", Prefix: host(s.Gateway.Unmap())})
		w.state.Routes = append(w.state.Routes, netstate.Route{Dst: s.Prefix.Masked(), Unreachable: true})
	}
	taken := v.localEndpoints(n, w)
	v.remoteEndpoints(n, w, taken)
	w.scope.Devices = map[string]bool{"lo": true, vxlanLink: true}
	for _, x := range w.wires {
		w.scope.Devices[x.link] = true
	}
	w.scope.Keep = w.keepUnknown(vethPrefix)
	v.virtualIPs(n, w)
	return w
}

// localEndpoints routes to the containers of this node.
func (v *view) localEndpoints(n Network, w *want) map[netip.Addr]bool {
	taken, owners := map[netip.Addr]bool{}, v.owners(n.ID)
	for _, c := range v.claims {
		for i, at := range c.Networks {
			if at.NetworkID != n.ID {
				continue
			}
			x := v.networkWire(c, i)
			w.wires = append(w.wires, x)
			w.state.Links = append(w.state.Links, netstate.Link{Name: x.link, MTU: x.mtu, MAC: x.macOut})
			for _, a := range at.Addrs {
				if a = a.Unmap(); taken[a] || !holds(owners, c, a) {
					continue
				}
				taken[a] = true
				w.state.Routes = append(w.state.Routes, netstate.Route{Dst: host(a), Dev: x.link})
				w.state.Neighs = append(w.state.Neighs, netstate.Neigh{Dev: x.link, Addr: a, MAC: x.macIn})
			}
		}
	}
	return taken
}

// remoteEndpoints routes to the containers of other nodes, naming only those nodes that have any.
func (v *view) remoteEndpoints(n Network, w *want, taken map[netip.Addr]bool) {
	used := map[string]bool{}
	for _, e := range v.endpoints[n.ID] {
		p, ok := v.peers[e.NodeID]
		if !ok || e.NodeID == v.cfg.NodeID {
			continue
		}
		for _, a := range e.Addrs {
			if a = a.Unmap(); taken[a] {
				continue
			}
			taken[a] = true
			used[p.NodeID] = true
			w.state.Routes = append(w.state.Routes, netstate.Route{Dst: host(a), Via: nexthop(p.Number, a.Is6()), Dev: vxlanLink})
		}
	}
	for _, p := range v.others() {
		if used[p.NodeID] {
			v.peerEntries(w, vxlanLink, p, subnetFamilies(n))
		}
	}
}

// peerEntries tell a VXLAN link where a peer is.
func (v *view) peerEntries(w *want, dev string, p Peer, families []bool) {
	w.state.FDB = append(w.state.FDB, netstate.FDB{Dev: dev, MAC: nodeMAC(p.Number), VTEP: p.VTEP})
	for _, v6 := range families {
		w.state.Neighs = append(w.state.Neighs, netstate.Neigh{Dev: dev, Addr: nexthop(p.Number, v6), MAC: nodeMAC(p.Number)})
	}
}

func subnetFamilies(n Network) []bool {
	var out []bool
	for _, s := range n.Subnets {
		out = append(out, s.Prefix.Addr().Is6())
	}
	return out
}

// virtualIPs balances each virtual address of the network over its service's backends. A virtual address without
// backends has no entry: TCP is reset there, as at an address that no container has, and for the rest the route of the subnet
// answers that it is unreachable.
func (v *view) virtualIPs(n Network, w *want) {
	vips := map[bool]*nft.Set{
		false: {Name: "vip4", Key: nft.KeyV4, Data: nft.Verdict},
		true:  {Name: "vip6", Key: nft.KeyV6, Data: nft.Verdict},
	}
	hairpins := map[bool]*nft.Set{
		false: {Name: "hairpin4", Key: nft.KeyV4Pair},
		true:  {Name: "hairpin6", Key: nft.KeyV6Pair},
	}
	grouped := v.byService(n.ID)
	w.flows = &flows{alive: v.alive(v.endpoints[n.ID])}
	for _, s := range n.Subnets {
		w.flows.within = append(w.flows.within, s.Prefix)
	}
	local := map[netip.Addr]bool{}
	for _, s := range v.services {
		for _, vip := range s.VIPs[n.ID] {
			vip = vip.Unmap()
			backends := v.backends(grouped[s.ID], vip.Is6(), false)
			w.flows.add(flowKey{addr: vip}, backends)
			if len(backends) == 0 {
				continue
			}
			chain := nft.ContentChain("vip", vip.String(), nft.Rule{nft.DNAT(backends, 0)})
			w.table.Content = append(w.table.Content, chain)
			set := vips[vip.Is6()]
			set.Elements = append(set.Elements, nft.Element{Key: nft.AddrKey(vip), Chain: chain.Name})
		}
		if len(s.VIPs[n.ID]) == 0 {
			continue
		}
		for _, e := range grouped[s.ID] {
			for _, a := range e.Addrs {
				if a = a.Unmap(); e.NodeID == v.cfg.NodeID && !local[a] {
					local[a] = true
					set := hairpins[a.Is6()]
					set.Elements = append(set.Elements, nft.Element{Key: nft.SelfKey(a)})
				}
			}
		}
	}
	pre := nft.Chain{Name: "prerouting", Hook: hook(nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -100)}
	post := nft.Chain{Name: "postrouting", Hook: hook(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100)}
	for _, s := range n.Subnets {
		v6 := s.Prefix.Addr().Is6()
		w.table.Sets = append(w.table.Sets, *vips[v6], *hairpins[v6])
		pre.Rules = append(pre.Rules, nft.Rule{nft.DestinationMap(v6, vips[v6].Name)})
		// A container that reaches itself through its own virtual address would answer itself directly.
		post.Rules = append(post.Rules, nft.Rule{nft.PairIn(v6, hairpins[v6].Name), nft.SNAT(s.Gateway.Unmap())})
	}
	// The route's own answer (ICMP) comes so fast that the caller, still within connect(), takes it for a passing trouble and
	// tries again after a second.
	pre.Rules = append(pre.Rules, nft.Rule{nft.ToNobody(), nft.ResetTCP()})
	w.table.Chains = []nft.Chain{pre, straying(), post}
}

// straying stops packets that connection tracking takes for no part of their connection, such as one repeated too late: they
// would not be translated back, and the client would answer an address that it never called with a reset, which ends the
// connection.
func straying() nft.Chain {
	return nft.Chain{Name: "forward", Hook: hook(nftables.ChainTypeFilter, nftables.ChainHookForward, 0), Rules: []nft.Rule{{nft.Invalid(), nft.Drop()}}}
}

func hook(t nftables.ChainType, h *nftables.ChainHook, priority nftables.ChainPriority) *nft.Hook {
	return &nft.Hook{Type: t, Hook: h, Priority: priority}
}
