//go:build linux

package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// introduce tells bridge and container each other's hardware addresses, which follow from the rows. They could ask: but IPv6 asks by
// multicast, which an interface hears only once the kernel has noticed that its link is up. It does so at most once a second for all
// links of a host, and what was sent meanwhile waits two seconds, or is lost. Both are free to find out better: an entry is a hint
// (stale, RFC 4861, 7.3.2), used at once and confirmed by use.
func (m *Manager) introduce(p *plug, in netlink.Link, inside *netlink.Handle) error {
	for _, text := range p.ep.Addresses {
		a, err := netip.ParsePrefix(text)
		if err == nil {
			err = hint(m.nl, p.host, a.Addr(), in.Attrs().HardwareAddr)
		}
		if err != nil {
			return err
		}
	}
	for _, text := range p.ep.Gateways {
		a, err := netip.ParseAddr(text)
		if err == nil {
			err = hint(inside, in, a, p.host.Attrs().HardwareAddr)
		}
		if err != nil && hasFamily(inside, in, a) {
			return err
		}
	}
	return nil
}

func hint(nl *netlink.Handle, l netlink.Link, a netip.Addr, mac net.HardwareAddr) error {
	n := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_STALE, IP: a.AsSlice(), HardwareAddr: mac}
	if err := nl.NeighSet(n); err != nil {
		return fmt.Errorf("set neighbour %s of %s: %w", a, l.Attrs().Name, err)
	}
	return nil
}
