//go:build linux

package network

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// Check refuses networks and ports that no start could satisfy.
func (m *Manager) Check(want []*api.LocalNetworkAttachment, ports []*api.PortBinding) error {
	seen := map[string]bool{}
	var networks []*api.LocalNetwork
	for _, w := range want {
		n, err := m.Get(w.Network)
		if err != nil {
			return err
		}
		if seen[n.Id] {
			return fmt.Errorf("%w: network %s is given twice", ErrInvalid, n.Name)
		}
		seen[n.Id], networks = true, append(networks, n)
		if err := checkWant(n, w); err != nil {
			return err
		}
	}
	for _, p := range ports {
		if err := checkPort(p); err != nil {
			return err
		}
	}
	if err := checkTwice(ports); err != nil {
		return err
	}
	reachable := func(n *api.LocalNetwork) bool { return n.Driver == Bridge && !n.Internal }
	if len(ports) > 0 && len(want) > 0 && !slices.ContainsFunc(networks, reachable) {
		return fmt.Errorf("%w: ports cannot be published on network %s: that needs a bridge network that is not internal", ErrInvalid, networks[0].Name)
	}
	return nil
}

// checkWant refuses what a network cannot give a container.
func checkWant(n *api.LocalNetwork, w *api.LocalNetworkAttachment) error {
	switch {
	case n.Driver == Host || n.Driver == None:
		return fmt.Errorf("%w: network %s cannot be combined with others", ErrInvalid, n.Name)
	case n.Name == Bridge && (w.Ip != "" || w.Ip6 != ""):
		return fmt.Errorf("%w: fixed addresses are for networks of your own, not for the default bridge", ErrInvalid)
	case n.Name == Bridge && len(w.Aliases) > 0:
		return fmt.Errorf("%w: aliases are for networks of your own: on the default bridge containers have no names", ErrInvalid)
	case hasParentsMAC(n) && w.Mac != "":
		return fmt.Errorf("%w: containers on network %s have the hardware address of its parent: leave out %s", ErrInvalid, n.Name, w.Mac)
	}
	if w.Mac != "" {
		if _, err := parseMAC(w.Mac); err != nil {
			return err
		}
	}
	for _, text := range w.LinkLocalIps {
		if a, err := netip.ParseAddr(text); err != nil || !a.IsLinkLocalUnicast() {
			return fmt.Errorf("%w: %q is not a link-local address (169.254.0.0/16 or fe80::/10)", ErrInvalid, text)
		}
	}
	return nil
}

func checkPort(p *api.PortBinding) error {
	switch p.Protocol {
	case "", "tcp", "udp", "sctp":
	default:
		return fmt.Errorf("%w: port protocol %q is not tcp, udp or sctp", ErrInvalid, p.Protocol)
	}
	if p.HostPortEnd != 0 && (p.HostPortEnd < p.HostPort || p.HostPort == 0 || p.HostPortEnd > 65535) {
		return fmt.Errorf("%w: host ports %d-%d are no range", ErrInvalid, p.HostPort, p.HostPortEnd)
	}
	if p.ContainerPort == 0 || p.ContainerPort > 65535 || p.HostPort > 65535 {
		return fmt.Errorf("%w: port %d:%d is not between 1 and 65535", ErrInvalid, p.HostPort, p.ContainerPort)
	}
	if p.HostIp != "" {
		if _, err := netip.ParseAddr(p.HostIp); err != nil {
			return fmt.Errorf("%w: host address of port %d: %w", ErrInvalid, p.ContainerPort, err)
		}
	}
	return nil
}

// checkTwice refuses one port of the host for two of a container: at the start it would look as if another program had it.
func checkTwice(ports []*api.PortBinding) error {
	for i, p := range ports {
		for _, q := range ports[:i] {
			fixed := p.HostPort != 0 && p.HostPort == q.HostPort && p.HostPortEnd == 0 && q.HostPortEnd == 0
			if fixed && cmp.Or(p.Protocol, "tcp") == cmp.Or(q.Protocol, "tcp") && sameHost(p.HostIp, q.HostIp) {
				return fmt.Errorf("%w: port %d/%s of the host is published twice: give each port of the container one of its own",
					ErrInvalid, p.HostPort, cmp.Or(p.Protocol, "tcp"))
			}
		}
	}
	return nil
}

// sameHost: no address is all of them, of both families.
func sameHost(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	if err1 != nil || err2 != nil {
		return true
	}
	return x == y || x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

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

// ParseExposed reads exposed ports ("80/tcp", "53/udp", "80") as ports to publish anywhere. What is none is left out.
func ParseExposed(exposed []string) []*api.PortBinding {
	var out []*api.PortBinding
	for _, text := range exposed {
		number, protocol, ok := strings.Cut(text, "/")
		if !ok {
			protocol = "tcp"
		}
		port, err := strconv.ParseUint(number, 10, 16)
		p := &api.PortBinding{Protocol: protocol, ContainerPort: uint32(port)}
		if err == nil && protocol != "" && checkPort(p) == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *api.PortBinding) int { return int(a.ContainerPort) - int(b.ContainerPort) })
	return out
}
