//go:build linux

package network

import (
	"cmp"
	"fmt"
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
