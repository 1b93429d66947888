//go:build linux

package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/shoal-dev/shoal/proto/api"
)

// Allocate chooses addresses for one container. used are the endpoints of all others: an address is free if none of them
// has it. The caller keeps others from allocating until the result is in the container's row.
func (m *Manager) Allocate(used []*api.NetworkEndpoint, want []*api.LocalNetworkAttachment) ([]*api.NetworkEndpoint, error) {
	taken := map[string]map[netip.Addr]bool{}
	for _, ep := range used {
		if taken[ep.NetworkId] == nil {
			taken[ep.NetworkId] = map[netip.Addr]bool{}
		}
		for _, text := range ep.Addresses {
			if p, err := netip.ParsePrefix(text); err == nil {
				taken[ep.NetworkId][p.Addr()] = true
			}
		}
	}
	var out []*api.NetworkEndpoint
	for _, w := range want {
		n, err := m.Get(w.Network)
		if err != nil {
			return nil, err
		}
		ep, err := allocate(n, w, taken[n.Id])
		if err != nil {
			return nil, err
		}
		out = append(out, ep)
	}
	return out, nil
}

func allocate(n *api.LocalNetwork, w *api.LocalNetworkAttachment, taken map[netip.Addr]bool) (*api.NetworkEndpoint, error) {
	ep := &api.NetworkEndpoint{Network: n.Name, NetworkId: n.Id, Aliases: w.Aliases}
	if takesOne(n) && len(taken) > 0 {
		return nil, fmt.Errorf("network %s is %w: in mode passthru a parent has room for one container", n.Name, ErrInUse)
	}
	given := map[bool]string{true: w.Ip, false: w.Ip6} // by Is4
	var first netip.Addr
	for _, c := range n.Ipam {
		subnet := netip.MustParsePrefix(c.Subnet)
		is4 := subnet.Addr().Is4()
		addr, err := pickAddr(n, c, subnet, given[is4], taken)
		if err != nil {
			return nil, err
		}
		given[is4] = ""
		if !first.IsValid() {
			first = addr
		}
		ep.Addresses = append(ep.Addresses, netip.PrefixFrom(addr, subnet.Bits()).String())
		ep.Gateways = append(ep.Gateways, gateways(n, c)...)
	}
	for _, left := range given {
		if left != "" {
			return nil, fmt.Errorf("%w: network %s has no subnet for the address %s", ErrInvalid, n.Name, left)
		}
	}
	if err := addLinkLocal(ep, w, taken); err != nil || hasParentsMAC(n) {
		return ep, err
	}
	var err error
	ep.Mac, err = macFor(w.Mac, first)
	return ep, err
}

// gateways are those of a container: none on an internal network, the unspecified address where the interface itself
// is the way.
func gateways(n *api.LocalNetwork, c *api.IPAMConfig) []string {
	switch {
	case n.Internal:
		return nil
	case !routesOnLink(n):
		return []string{c.Gateway}
	case netip.MustParsePrefix(c.Subnet).Addr().Is4():
		return []string{netip.IPv4Unspecified().String()}
	}
	return []string{netip.IPv6Unspecified().String()}
}

// addLinkLocal adds the link-local addresses that were asked for, after the others: those are what names and ports mean.
func addLinkLocal(ep *api.NetworkEndpoint, w *api.LocalNetworkAttachment, taken map[netip.Addr]bool) error {
	for _, text := range w.LinkLocalIps {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("%w: address %q: %w", ErrInvalid, text, err)
		}
		if taken[a] {
			return fmt.Errorf("address %s of network %s is %w by another container", a, ep.Network, ErrInUse)
		}
		bits := 64
		if a.Is4() {
			bits = 16
		}
		ep.Addresses = append(ep.Addresses, netip.PrefixFrom(a, bits).String())
	}
	return nil
}

func pickAddr(n *api.LocalNetwork, c *api.IPAMConfig, subnet netip.Prefix, given string, taken map[netip.Addr]bool) (netip.Addr, error) {
	gateway, _ := netip.ParseAddr(c.Gateway)
	if given != "" {
		a, err := netip.ParseAddr(given)
		switch {
		case err != nil:
			return a, fmt.Errorf("%w: address %q: %w", ErrInvalid, given, err)
		case !subnet.Contains(a) || a == subnet.Addr() || a == gateway || a == broadcast(subnet):
			return a, fmt.Errorf("%w: address %s is not one for containers of network %s (%s)", ErrInvalid, a, n.Name, subnet)
		case isAux(c, a):
			return a, fmt.Errorf("address %s of network %s is %w as an auxiliary address", a, n.Name, ErrInUse)
		case taken[a]:
			return a, fmt.Errorf("address %s of network %s is %w by another container", a, n.Name, ErrInUse)
		}
		return a, nil
	}
	from := subnet
	if c.IpRange != "" {
		from = netip.MustParsePrefix(c.IpRange)
	}
	for a := from.Masked().Addr(); from.Contains(a); a = a.Next() {
		if a != subnet.Addr() && a != gateway && a != broadcast(subnet) && !isAux(c, a) && !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("network %s: every address of %s is %w", n.Name, from, ErrInUse)
}

// broadcast is the last address of an IPv4 subnet; IPv6 has none.
func broadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() {
		return netip.Addr{}
	}
	a := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(a)
}

// macFor derives the hardware address from the first address, so that who takes over an address is found at once.
func macFor(given string, addr netip.Addr) (string, error) {
	if given == "" {
		raw := addr.AsSlice()
		return net.HardwareAddr(append([]byte{0x02, 0x53}, raw[len(raw)-4:]...)).String(), nil
	}
	return parseMAC(given)
}

// parseMAC reads the address of one interface.
func parseMAC(given string) (string, error) {
	mac, err := net.ParseMAC(given)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return "", fmt.Errorf("%w: hardware address %q: write one like 92:d0:c6:0a:29:33, the first number even", ErrInvalid, given)
	}
	return mac.String(), nil
}
