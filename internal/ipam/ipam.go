// Package ipam picks free prefixes and free host addresses.
//
// It is arithmetic on plain values: the caller says what is taken (which it reads from the
// rows of the store) and is told what is free. Nothing is remembered between calls, so
// nothing can leak. NextPrefix carves a subnet out of pools, Hosts hands out the addresses
// of one subnet. IPv4 and IPv6 are treated alike.
//
// It does not know networks, tasks or transactions.
package ipam

import (
	"net/netip"
)

// Last returns the highest address of a prefix (the broadcast address in IPv4).
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// First returns the first address of a prefix that a host can have: a network's gateway,
// a node's own address on its gateway subnet.
func First(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return p.Addr()
	}
	return p.Masked().Addr().Next()
}

// Capacity is the number of addresses for hosts besides the gateway, at most 1<<30.
func Capacity(p netip.Prefix) int {
	host := p.Addr().BitLen() - p.Bits()
	if host > 30 {
		return 1 << 30
	}
	n := 1<<host - 2 // the network's own address and the gateway
	if p.Addr().Is4() {
		n-- // broadcast
	}
	return max(n, 0)
}
