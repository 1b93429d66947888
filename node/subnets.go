//go:build linux

package node

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/shoal-dev/shoal/internal/names"
)

// localSubnets are the destinations of this host's routes, default routes and those over our own links left out, and
// its resolvers.
func localSubnets() []string {
	var found []string
	add := func(p netip.Prefix) {
		if !slices.Contains(found, p.String()) {
			found = append(found, p.String())
		}
	}
	routes, _ := netlink.RouteList(nil, netlink.FAMILY_ALL)
	for _, r := range routes {
		if r.Dst == nil || ourLink(r.LinkIndex) {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if p := netip.PrefixFrom(addr.Unmap(), bits); ok && bits > 0 && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			add(p.Masked())
		}
	}
	for _, a := range resolvers("/etc/resolv.conf") {
		if !a.IsLoopback() {
			add(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	slices.Sort(found)
	return found
}

// ourLink tells whether a link is Shoal's. One that is gone has no say.
func ourLink(index int) bool {
	ifi, err := net.InterfaceByIndex(index)
	return err == nil && isOurs(ifi.Name)
}

// isOurs knows the names that packages overlay and engine/network give, from those of links of others that begin like them.
func isOurs(name string) bool {
	if name == "shoal0" || name == "shmesh" || name == "shbr0" {
		return true
	}
	for prefix, digits := range map[string]int{"shg": 10, "shbr-": 10, "shl": 12} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && names.Hex(rest, digits, digits) {
			return true
		}
	}
	return false
}
