//go:build linux

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// defaultRoutes lead out by the first network with a gateway, for each family. Those that are there already stay.
func defaultRoutes(inside *netlink.Handle, endpoints []*api.NetworkEndpoint) error {
	links, err := retryDump(inside.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	done := map[bool]bool{} // by Is4
	for _, ep := range endpoints {
		i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Alias == insideAlias+ep.NetworkId })
		for _, gw := range ep.Gateways {
			addr, err := netip.ParseAddr(gw)
			if err != nil {
				return err
			}
			if i < 0 || done[addr.Is4()] {
				continue
			}
			done[addr.Is4()] = true
			err = inside.RouteAdd(defaultRoute(links[i], addr))
			if err != nil && !errors.Is(err, unix.EEXIST) && hasFamily(inside, links[i], addr) {
				return fmt.Errorf("add default route via %s: %w", gw, err)
			}
		}
	}
	return nil
}

// hasFamily says whether an interface has an address of the family of another one: a container may have switched IPv6 off.
func hasFamily(nl *netlink.Handle, l netlink.Link, a netip.Addr) bool {
	family := unix.AF_INET6
	if a.Is4() {
		family = unix.AF_INET
	}
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return nl.AddrList(l, family) })
	return err != nil || len(addrs) > 0
}

// defaultRoute leads through a gateway or, if that is 0.0.0.0 or ::, through the interface itself.
func defaultRoute(l netlink.Link, gw netip.Addr) *netlink.Route {
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: make(net.IP, gw.BitLen()/8), Mask: net.CIDRMask(0, gw.BitLen())}}
	if gw.IsUnspecified() {
		r.Scope = netlink.SCOPE_LINK
	} else {
		r.Gw = gw.AsSlice()
	}
	return r
}
