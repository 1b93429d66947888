//go:build linux

package network

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/proto/api"
)

// busyPrefixes are what new subnets must not overlap: routes of this namespace, the resolvers, which may be far behind
// the default route, and subnets of other networks.
func (m *Manager) busyPrefixes() ([]netip.Prefix, error) {
	var busy []netip.Prefix
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := retryDump(func() ([]netlink.Route, error) { return m.nl.RouteList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			addr, ok := netip.AddrFromSlice(r.Dst.IP)
			ones, _ := r.Dst.Mask.Size()
			if ok && ones > 0 {
				busy = append(busy, netip.PrefixFrom(addr.Unmap(), ones))
			}
		}
	}
	for _, r := range nameserver.HostResolvers(m.cfg.ResolvConf) {
		if at, err := netip.ParseAddrPort(r.Addr); err == nil {
			busy = append(busy, netip.PrefixFrom(at.Addr(), at.Addr().BitLen()))
		}
	}
	return append(busy, m.ownPrefixes()...), nil
}

// ownPrefixes are the subnets of all networks.
func (m *Manager) ownPrefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, n := range m.networks {
		out = append(out, prefixes(n)...)
	}
	return out
}

// prefixes are a network's subnets.
func prefixes(n *api.LocalNetwork) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range n.Ipam {
		if p, err := netip.ParsePrefix(c.Subnet); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// chooseSubnets checks the subnets that were asked for, and adds one for each family without.
func chooseSubnets(n *api.LocalNetwork, busy []netip.Prefix) ([]*api.IPAMConfig, error) {
	var out []*api.IPAMConfig
	var has4, has6 bool
	for _, c := range n.Ipam {
		p, err := checkIPAM(c, busy)
		if err != nil {
			return nil, err
		}
		if p.Addr().Is4() && has4 || p.Addr().Is6() && has6 {
			return nil, fmt.Errorf("%w: more than one subnet of a family", ErrInvalid)
		}
		has4, has6 = has4 || p.Addr().Is4(), has6 || p.Addr().Is6()
		out = append(out, withGateway(c, p))
	}
	if !has4 {
		p, err := freeV4(busy)
		if err != nil {
			return nil, err
		}
		out = append([]*api.IPAMConfig{withGateway(&api.IPAMConfig{}, p)}, out...)
	}
	if !has6 && n.Ipv6 {
		p, err := freeV6(n.Id, busy)
		if err != nil {
			return nil, err
		}
		out = append(out, withGateway(&api.IPAMConfig{}, p))
	}
	return out, nil
}

func checkIPAM(c *api.IPAMConfig, busy []netip.Prefix) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(c.Subnet)
	if err != nil {
		return p, fmt.Errorf("%w: subnet %q: %w", ErrInvalid, c.Subnet, err)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%w: subnet %s has bits beyond its prefix: write %s", ErrInvalid, p, p.Masked())
	}
	if p.Addr().BitLen()-p.Bits() < 2 {
		return p, fmt.Errorf("%w: subnet %s has no room for a gateway and a container", ErrInvalid, p)
	}
	for _, b := range busy {
		if b.Overlaps(p) {
			return p, fmt.Errorf("%w: subnet %s overlaps %s, which this host has already", ErrInvalid, p, b)
		}
	}
	if c.Gateway != "" {
		if g, err := netip.ParseAddr(c.Gateway); err != nil || !p.Contains(g) {
			return p, fmt.Errorf("%w: gateway %q is not an address of %s", ErrInvalid, c.Gateway, p)
		}
	}
	if c.IpRange != "" {
		if r, err := netip.ParsePrefix(c.IpRange); err != nil || !p.Contains(r.Addr()) || r.Bits() < p.Bits() {
			return p, fmt.Errorf("%w: range %q is not a part of %s", ErrInvalid, c.IpRange, p)
		}
	}
	for name, text := range c.AuxAddresses {
		if a, err := netip.ParseAddr(text); err != nil || !p.Contains(a) {
			return p, fmt.Errorf("%w: auxiliary address %s=%s is not an address of %s", ErrInvalid, name, text, p)
		}
	}
	return p, nil
}

func withGateway(c *api.IPAMConfig, p netip.Prefix) *api.IPAMConfig {
	out := &api.IPAMConfig{Subnet: p.String(), Gateway: c.Gateway, IpRange: c.IpRange, AuxAddresses: c.AuxAddresses}
	for a := p.Addr().Next(); out.Gateway == ""; a = a.Next() {
		if !isAux(c, a) {
			out.Gateway = a.String()
		}
	}
	return out
}

// isAux says that an address of a subnet belongs to something else than a container.
func isAux(c *api.IPAMConfig, a netip.Addr) bool {
	for _, text := range c.AuxAddresses {
		if aux, err := netip.ParseAddr(text); err == nil && aux == a {
			return true
		}
	}
	return false
}

// freeV4 takes the first of 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/20 to 192.168.240.0/20 that is free.
func freeV4(busy []netip.Prefix) (netip.Prefix, error) {
	var pools []netip.Prefix
	for i := byte(17); i < 32; i++ {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i, 0, 0}), 16))
	}
	for i := 0; i < 256; i += 16 {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 0}), 20))
	}
	for _, p := range pools {
		if !overlaps(p, busy) {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w: no IPv4 subnet is free: give one with --subnet", ErrInvalid)
}

// freeV6 makes a unique local /64 from the network's random ID.
func freeV6(networkID string, busy []netip.Prefix) (netip.Prefix, error) {
	raw, err := hex.DecodeString(networkID)
	if err != nil || len(raw) < 16 {
		return netip.Prefix{}, fmt.Errorf("%w: network ID %q", ErrInvalid, networkID)
	}
	for i := 0; i+7 <= len(raw); i++ {
		a := [16]byte{0xfd}
		copy(a[1:8], raw[i:i+7])
		if p := netip.PrefixFrom(netip.AddrFrom16(a), 64); !overlaps(p, busy) {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w: no IPv6 subnet is free: give one with --subnet", ErrInvalid)
}

func overlaps(p netip.Prefix, busy []netip.Prefix) bool {
	for _, b := range busy {
		if b.Overlaps(p) {
			return true
		}
	}
	return false
}

// retryDump repeats a netlink listing that was disturbed by a change.
func retryDump[T any](list func() ([]T, error)) (out []T, err error) {
	for range 10 {
		if out, err = list(); err == nil || !isInterrupted(err) {
			return out, err
		}
	}
	return out, err
}
