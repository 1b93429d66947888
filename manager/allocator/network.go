package allocator

import (
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/proto/api"
)

// allocateNetworks gives every network its subnets, gateways and VNI. Once given they stay.
func (p *pass) allocateNetworks() error {
	for i, n := range p.networks {
		if n.Vni != 0 {
			continue
		}
		now := proto.CloneOf(n)
		subnets, err := p.subnets(n)
		if err == nil {
			now.Vni, err = p.freeVNI()
		}
		if err != nil {
			now.Vni, now.AllocationError = 0, err.Error()
		} else {
			now.Ipam, now.AllocationError = subnets, ""
		}
		if err := save(p, p.tx.Networks(), p.networks, i, now); err != nil {
			return err
		}
	}
	return p.noteVNI()
}

// noteVNI keeps which number was given last.
func (p *pass) noteVNI() error {
	if c := p.tx.Cluster(); p.write && c.LastVni != p.lastVNI {
		c = proto.CloneOf(c)
		c.LastVni = p.lastVNI
		return p.tx.SetCluster(c)
	}
	return nil
}

// freeVNI takes the next free number behind the one given last: a node that has not heard yet that a network is gone does not mix
// it up with the next one.
func (p *pass) freeVNI() (uint32, error) {
	used := map[uint32]bool{}
	for _, n := range p.networks {
		used[n.Vni] = true
	}
	v := p.lastVNI
	for range len(used) + 1 {
		if v++; v < p.vniBase || v > lastVNI {
			v = p.vniBase
		}
		for used[v] && v < lastVNI {
			v++
		}
		if !used[v] {
			p.lastVNI = v
			return v, nil
		}
	}
	return 0, fmt.Errorf("all VXLAN numbers from %d up are in use: remove a network", p.vniBase)
}

// subnets returns the network's configuration as allocated, one entry per family.
func (p *pass) subnets(n *api.Network) ([]*api.IPAMConfig, error) {
	var out []*api.IPAMConfig
	var has4, has6 bool
	for _, want := range n.GetSpec().GetIpam() {
		got, err := p.wished(want)
		if err != nil {
			return nil, err
		}
		if netip.MustParsePrefix(got.Subnet).Addr().Is4() {
			has4 = true
		} else {
			has6 = true
		}
		out = append(out, got)
	}
	if !has4 {
		v4, err := p.freeSubnet4()
		if err != nil {
			return nil, err
		}
		out = slices.Insert(out, 0, config(v4))
	}
	if n.GetSpec().GetIpv6() && !has6 {
		used := append(p.networkSubnets(), p.gatewaySubnets()...)
		v6, ok := ipam.NextPrefix(p.half(false), size6, used)
		if !ok {
			return nil, fmt.Errorf("no free IPv6 subnet in the cluster's prefix %s: give the network a subnet or switch IPv6 off", p.ula)
		}
		out = append(out, config(v6))
	}
	return out, nil
}

func config(subnet netip.Prefix) *api.IPAMConfig {
	return &api.IPAMConfig{Subnet: subnet.String(), Gateway: ipam.First(subnet).String()}
}

// wished checks a subnet that the user asked for.
func (p *pass) wished(want *api.IPAMConfig) (*api.IPAMConfig, error) {
	subnet, err := netip.ParsePrefix(want.Subnet)
	if err != nil {
		return nil, fmt.Errorf("subnet %q: want ADDRESS/LENGTH", want.Subnet)
	}
	subnet = subnet.Masked()
	if ipam.Capacity(subnet) < 1 {
		return nil, fmt.Errorf("subnet %s is too small to have a container in it", subnet)
	}
	for _, n := range p.networks {
		for _, c := range n.Ipam {
			if other, err := netip.ParsePrefix(c.Subnet); err == nil && other.Overlaps(subnet) {
				return nil, fmt.Errorf("subnet %s overlaps with network %s (%s): choose another", subnet, n.GetSpec().GetName(), other)
			}
		}
	}
	if g, bad := ipam.Overlapping(subnet, p.gatewaySubnets()); bad {
		return nil, fmt.Errorf("subnet %s overlaps with the gateway subnet %s of a node: choose another", subnet, g)
	}
	local, owner := p.localSubnets()
	if r, bad := ipam.Overlapping(subnet, local); bad {
		return nil, fmt.Errorf("subnet %s overlaps with %s, which node %s has a route to: choose another", subnet, r, owner[r])
	}
	got := config(subnet)
	got.IpRange = want.IpRange
	if want.Gateway != "" {
		g, err := netip.ParseAddr(want.Gateway)
		if err != nil || !subnet.Contains(g) {
			return nil, fmt.Errorf("gateway %q is not an address in %s", want.Gateway, subnet)
		}
		got.Gateway = g.String()
	}
	return got, nil
}

// freeSubnet4 takes the next subnet of the cluster's pools.
func (p *pass) freeSubnet4() (netip.Prefix, error) {
	own := slices.Concat(p.networkSubnets(), p.nodePools, p.gatewaySubnets())
	local, owner := p.localSubnets()
	if s, ok := ipam.NextPrefix(p.pools, p.size, slices.Concat(own, local)); ok {
		return s, nil
	}
	if s, ok := ipam.NextPrefix(p.pools, p.size, own); ok {
		r, _ := ipam.Overlapping(s, local)
		return netip.Prefix{}, fmt.Errorf("no free /%d in the cluster's address pools %v: node %s has a route to %s, which covers what is left; "+
			"give the network a subnet or add a pool", p.size, p.pools, owner[r], r)
	}
	return netip.Prefix{}, fmt.Errorf("no free /%d left in the cluster's address pools %v: add a pool, remove a network or give the network a subnet",
		p.size, p.pools)
}
