//go:build linux

package overlay

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/shoal-dev/shoal/overlay/nft"
)

// view is a snapshot of everything wanted; what the kernel should hold is computed from it and nothing else.
type view struct {
	cfg      Config
	mtu      int // of packets inside the tunnel
	offload  bool
	looseRPF string // value for rp_filter that lets asymmetric traffic pass

	self      Peer
	peers     map[string]Peer // by node ID, those that can be reached, this one included
	problems  []string        // rows that cannot be used, one line each
	networks  map[string]Network
	endpoints map[string][]Endpoint // by network ID
	services  []Service
	down      map[string]bool // not balanced to
	lost      map[string]bool // down for so long that nothing of it lives
	claims    []*Attachment   // ordered by ID
	adopted   bool
}

// newView indexes d.
func newView(cfg Config, d *Desired, down map[string]bool) *view {
	if cfg.ipv4Only {
		d = d.only4()
	}
	v := &view{
		cfg: cfg, peers: map[string]Peer{}, networks: map[string]Network{}, endpoints: map[string][]Endpoint{},
		services: slices.Clone(d.Services), down: map[string]bool{},
	}
	// Rows come in any order, every time in another: what is wanted must not seem to change by it.
	slices.SortFunc(v.services, func(a, b Service) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range d.Peers {
		v.addPeer(p)
		if p.Down || down[p.NodeID] {
			v.down[p.NodeID] = p.NodeID != cfg.NodeID
		}
	}
	for id := range down {
		v.down[id] = id != cfg.NodeID
	}
	for _, n := range d.Networks {
		if n.VNI == 0 || n.VNI >= 1<<24 || n.VNI == MeshVNI {
			v.problem("network %s has VXLAN number %d, which cannot be used (1 to 16777215, not %d)", n.Name, n.VNI, MeshVNI)
			continue
		}
		n.Subnets = v.usable(n)
		v.networks[n.ID] = n
	}
	for _, e := range d.Endpoints {
		v.endpoints[e.NetworkID] = append(v.endpoints[e.NetworkID], e)
	}
	for _, all := range v.endpoints {
		slices.SortFunc(all, func(a, b Endpoint) int { return cmp.Compare(a.TaskID, b.TaskID) })
	}
	return v
}

// usable are the subnets of a network that have all they need, the first of each family.
func (v *view) usable(n Network) []Subnet {
	var out []Subnet
	for _, s := range n.Subnets {
		gw := s.Gateway.Unmap()
		second := slices.ContainsFunc(out, func(o Subnet) bool { return o.Gateway.Is6() == gw.Is6() })
		switch {
		case !gw.IsValid() || !s.Prefix.Contains(gw):
			v.problem("network %s: subnet %s has no gateway of its own (%s)", n.Name, s.Prefix, s.Gateway)
		case second:
			v.problem("network %s has two subnets of one family: %s is not used", n.Name, s.Prefix)
		default:
			out = append(out, Subnet{Prefix: s.Prefix, Gateway: gw})
		}
	}
	return out
}

func (v *view) problem(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

func (v *view) addPeer(p Peer) {
	p.VTEP = p.VTEP.Unmap()
	if p.NodeID == v.cfg.NodeID {
		p.VTEP = v.cfg.VTEP
	}
	switch {
	case p.Number == 0:
		return // just admitted: its number is on its way
	case p.Number > maxNumber:
		v.problem("node %s has number %d, which cannot be used (1 to %d)", cmp.Or(p.Hostname, p.NodeID), p.Number, maxNumber)
		return
	case !p.VTEP.IsValid():
		return // not known yet
	case p.VTEP.Is4() != v.cfg.VTEP.Is4():
		v.problem("node %s has data path address %s, this node %s: they must be of one family", cmp.Or(p.Hostname, p.NodeID), p.VTEP, v.cfg.VTEP)
		return
	}
	v.peers[p.NodeID] = p
	if p.NodeID == v.cfg.NodeID {
		v.self = p
	}
}

// gateway is this node's own address on the gateway bridge, invalid if it has none of that family.
func (v *view) gateway(v6 bool) netip.Prefix {
	for _, g := range v.self.Gateways {
		if g.Addr().Is6() == v6 {
			return firstHost(g)
		}
	}
	return netip.Prefix{}
}

// firstHost is the first address of a subnet with the subnet's length.
func firstHost(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Masked().Addr().Next(), p.Bits())
}

// others are the peers but this node, ordered.
func (v *view) others() []Peer {
	var out []Peer
	for _, p := range v.peers {
		if p.NodeID != v.cfg.NodeID {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// claimsOn are the local containers on a network, with their addresses there.
func (v *view) claimsOn(networkID string) map[*Attachment][]netip.Addr {
	out := map[*Attachment][]netip.Addr{}
	for _, c := range v.claims {
		for _, n := range c.Networks {
			if n.NetworkID == networkID {
				out[c] = append(out[c], n.Addrs...)
			}
		}
	}
	return out
}

// byService groups a network's endpoints.
func (v *view) byService(networkID string) map[string][]Endpoint {
	out := map[string][]Endpoint{}
	for _, e := range v.endpoints[networkID] {
		if e.ServiceID != "" {
			out[e.ServiceID] = append(out[e.ServiceID], e)
		}
	}
	return out
}

// backends are the addresses that new connections to a service are led to: ready endpoints on nodes that are heard of.
// Suspicion fails open: if nobody else is left, the suspected stay. With local set, those of this node are preferred.
func (v *view) backends(endpoints []Endpoint, v6, local bool) []netip.Addr {
	var heard, here, ready []netip.Addr
	for _, e := range endpoints {
		if !e.Ready {
			continue
		}
		for _, a := range e.Addrs {
			if a = a.Unmap(); a.Is6() != v6 {
				continue
			}
			ready = append(ready, a)
			if !v.down[e.NodeID] {
				heard = append(heard, a)
			}
			if e.NodeID == v.cfg.NodeID {
				here = append(here, a)
			}
		}
	}
	switch {
	case local && len(here) > 0:
		return v.subset(here)
	case len(heard) > 0:
		return v.subset(heard)
	}
	return v.subset(ready)
}

// subset orders addresses, and takes as many as one rule holds: each node another part, so that all get their share.
func (v *view) subset(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	if len(addrs) <= nft.MaxBackends {
		return addrs
	}
	weight := func(a netip.Addr) uint64 {
		h := fnv.New64a()
		h.Write([]byte(v.cfg.NodeID))
		h.Write(a.AsSlice())
		return h.Sum64()
	}
	slices.SortFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(weight(a), weight(b)) })
	addrs = addrs[:nft.MaxBackends]
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// alive are the addresses of endpoints that may still answer: ready or draining, on nodes that are not lost.
func (v *view) alive(endpoints []Endpoint) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, e := range endpoints {
		if !v.lost[e.NodeID] || e.NodeID == v.cfg.NodeID {
			for _, a := range e.Addrs {
				out[a.Unmap()] = true
			}
		}
	}
	return out
}

// owners are the tasks that have the addresses of a network, as the rows say.
func (v *view) owners(networkID string) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, e := range v.endpoints[networkID] {
		for _, a := range e.Addrs {
			out[a.Unmap()] = e.TaskID
		}
	}
	return out
}

// holds tells whether an address is a container's: the rows say so, or know nothing of it (yet). A container that lingers
// when its address was given to another task, here or elsewhere, must not keep it.
func holds(owners map[netip.Addr]string, c *Attachment, a netip.Addr) bool {
	owner, known := owners[a]
	return !known || owner == c.TaskID || c.TaskID == ""
}

// families of the node's gateway addresses.
func (v *view) families() []bool {
	var out []bool
	for _, v6 := range []bool{false, true} {
		if v.gateway(v6).IsValid() {
			out = append(out, v6)
		}
	}
	return out
}
