//go:build linux

package network

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the kernel does later, by workers that wait for a lock that all changes of links take: it may take its time if many others
// come and go. Until it is done the kernel drops packets, and a first connection is a second late.
const (
	notices = 2 * time.Second // how long it is waited for
	every   = 200 * time.Microsecond
)

// carry waits until a new interface works: its bridge and the host's end, which was set up first and hears of the other end by a worker,
// and the addresses.
func (m *Manager) carry(p *plug, in netlink.Link, inside *netlink.Handle) error {
	if p.network.Driver == Bridge {
		for _, name := range []string{p.veth, p.host.Attrs().Name} {
			if err := awaitUp(m.nl, name); err != nil {
				return err
			}
		}
		for _, a := range p.ep.Gateways {
			awaitLocal(m.nl, p.host, a)
		}
	}
	for _, a := range p.ep.Addresses {
		address, _, _ := strings.Cut(a, "/")
		awaitLocal(inside, in, address)
	}
	return nil
}

// awaitUp looks at a link, for which kernels since 6.8 do at once what they have noticed. One that stays down is not waited for for
// ever: somebody may want it so.
func awaitUp(nl *netlink.Handle, name string) error {
	for end := time.Now().Add(notices); ; time.Sleep(every) {
		l, err := nl.LinkByName(name)
		if err != nil {
			return fmt.Errorf("wait for link %s: %w", name, err)
		}
		if l.Attrs().OperState == netlink.OperUp || time.Now().After(end) {
			return nil
		}
	}
}

// awaitLocal waits until packets to an address are taken. One of IPv6 is there at once, the route that says it is this namespace's own is
// made by a worker, even if nobody is asked whether it is a duplicate. Where IPv6 is switched off there is nothing to wait for.
func awaitLocal(nl *netlink.Handle, l netlink.Link, address string) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Is4() {
		return
	}
	for end := time.Now().Add(notices); time.Now().Before(end); time.Sleep(every) {
		routes, err := nl.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL || !hasFamily(nl, l, a) {
			return
		}
	}
}
