//go:build linux

package overlay

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// flows knows which translated connections of a namespace may go on.
//
// Datagram flows move at once when their backend is no longer one: they have no end of their own. Connections stay
// with a backend that drains or whose node is not heard of for a moment, and are cut when it is gone or its node lost: the
// client then gets a reset from whoever is asked next instead of waiting for nobody.
type flows struct {
	within  []netip.Prefix // backends are in these
	allowed map[flowKey]map[netip.Addr]bool
	alive   map[netip.Addr]bool
}

// flowKey is what clients talk to: a virtual address, or a published port.
type flowKey struct {
	addr  netip.Addr
	proto string
	port  uint16
	v6    bool
}

func (f *flows) add(k flowKey, backends []netip.Addr) {
	if f.allowed == nil {
		f.allowed = map[flowKey]map[netip.Addr]bool{}
	}
	set := map[netip.Addr]bool{}
	for _, b := range backends {
		set[b] = true
	}
	f.allowed[k] = set
}

// forbids tells whether some connection that was right before may be wrong now, so that it is worth reading them all: a backend
// is one no more, or a port is published that was not. before is nil if nothing is known of it.
func (f *flows) forbids(before map[flowKey]map[netip.Addr]bool) bool {
	if before == nil {
		return true
	}
	for k := range f.allowed {
		if _, was := before[k]; !was && k.port != 0 {
			return true
		}
	}
	for k, backends := range before {
		for a := range backends {
			if !f.allowed[k][a] {
				return true
			}
		}
	}
	return false
}

// stale tells whether a tracked connection leads to where it must not any more. isLocal knows this namespace's addresses.
func (f *flows) stale(c *netlink.ConntrackFlow, isLocal func(netip.Addr) bool) bool {
	asked, ok1 := netip.AddrFromSlice(c.Forward.DstIP)
	answers, ok2 := netip.AddrFromSlice(c.Reverse.SrcIP)
	if !ok1 || !ok2 {
		return false
	}
	asked, answers = asked.Unmap(), answers.Unmap()
	stream := c.Forward.Protocol == unix.IPPROTO_TCP || c.Forward.Protocol == unix.IPPROTO_SCTP
	port := flowKey{proto: protocolName(c.Forward.Protocol), port: c.Forward.DstPort, v6: asked.Is6()}
	if asked == answers {
		// Begun before the port was published: it would reach the node itself for ever.
		return !stream && len(f.allowed[port]) > 0 && isLocal(asked)
	}
	if !f.contains(answers) || f.allowed[flowKey{addr: asked}][answers] || f.allowed[port][answers] {
		return false
	}
	return !stream || !f.alive[answers]
}

func (f *flows) contains(a netip.Addr) bool {
	for _, p := range f.within {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func protocolName(n uint8) string {
	switch n {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	}
	return ""
}

// staleFilter makes flows a filter for the conntrack table.
type staleFilter struct {
	*flows
	isLocal func(netip.Addr) bool
}

func (s staleFilter) MatchConntrackFlow(c *netlink.ConntrackFlow) bool { return s.stale(c, s.isLocal) }

// forget deletes the stale connections of a namespace.
func (f *flows) forget(nf, route *netlink.Handle) error {
	var local map[netip.Addr]bool
	isLocal := func(a netip.Addr) bool {
		if local == nil {
			local = map[netip.Addr]bool{}
			addrs, _ := route.AddrList(nil, unix.AF_UNSPEC)
			for _, x := range addrs {
				if ip, ok := netip.AddrFromSlice(x.IP); ok {
					local[ip.Unmap()] = true
				}
			}
		}
		return local[a]
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if err := forgetIn(nf, family, staleFilter{f, isLocal}); err != nil {
			return fmt.Errorf("forget connections to removed backends: %w", err)
		}
	}
	return nil
}

// forgetIn tries again when the kernel's list changed while it was read: on a busy node it often does.
func forgetIn(nf *netlink.Handle, family netlink.InetFamily, which staleFilter) error {
	for try := 0; ; try++ {
		_, err := nf.ConntrackDeleteFilters(netlink.ConntrackTable, family, which)
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 20 {
			return err
		}
	}
}
