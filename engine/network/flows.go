//go:build linux

package network

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forgetStrays lets go of flows of datagrams that lead by a port of this host to a container that has it no more: it ended while
// there was no daemon. Like forgetFlows it keeps them from whoever has its address next.
func (m *Manager) forgetStrays() {
	f := strayFlows{right: map[strayKey]bool{}}
	for _, n := range m.networks {
		if isBridge(n) {
			f.within = append(f.within, prefixes(n)...)
		}
	}
	for _, a := range m.attached {
		for _, to := range target(m.used(), a.Endpoints) {
			for _, p := range a.Ports {
				f.right[strayKey{uint16(p.HostPort), to, uint16(p.ContainerPort)}] = true
			}
		}
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if _, err := m.nl.ConntrackDeleteFilters(netlink.ConntrackTable, family, f); err != nil {
			m.log.Warn("tracked connections to containers that are no more were not removed", "error", err)
		}
	}
}

// strayKey is a port of the host and where it leads.
type strayKey struct {
	host uint16
	to   netip.Addr
	port uint16
}

// strayFlows is a filter of tracked connections.
type strayFlows struct {
	within []netip.Prefix // where containers are
	right  map[strayKey]bool
}

// MatchConntrackFlow tells whether a connection is one to let go of.
func (f strayFlows) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	asked, _ := netip.AddrFromSlice(c.Forward.DstIP)
	answers, ok := netip.AddrFromSlice(c.Reverse.SrcIP)
	asked, answers = asked.Unmap(), answers.Unmap()
	if !ok || c.Forward.Protocol != unix.IPPROTO_UDP || asked == answers {
		return false
	}
	ours := slices.ContainsFunc(f.within, func(p netip.Prefix) bool { return p.Contains(answers) })
	return ours && !f.right[strayKey{c.Forward.DstPort, answers, c.Reverse.SrcPort}]
}
