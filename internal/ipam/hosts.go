package ipam

import (
	"net/netip"
	"strings"
)

// Hosts hands out the host addresses of one subnet. The subnet's own address, IPv4's
// broadcast address and the gateway are never given.
type Hosts struct {
	within netip.Prefix
	used   map[netip.Addr]bool // true: taken; false: better avoided
	next   netip.Addr
	last   bool // second round, which takes avoided addresses too
}

// NewHosts starts with an empty subnet. within limits the addresses to a part of it; the
// zero Prefix means all of it.
func NewHosts(subnet netip.Prefix, gateway netip.Addr, within netip.Prefix) *Hosts {
	if !within.IsValid() {
		within = subnet
	}
	h := &Hosts{within: within.Masked(), used: map[netip.Addr]bool{}}
	h.next = h.within.Addr()
	if !subnet.IsSingleIP() {
		h.Use(subnet.Masked().Addr())
		if subnet.Addr().Is4() {
			h.Use(Last(subnet))
		}
	}
	if gateway.IsValid() {
		h.Use(gateway)
	}
	return h
}

// Use marks an address as taken. Addresses of elsewhere do no harm.
func (h *Hosts) Use(a netip.Addr) { h.used[a.Unmap()] = true }

// Avoid marks an address as free but recently used: it is given only when nothing else is
// left, so that neither a cache nor a client meets another task under an old address.
func (h *Hosts) Avoid(a netip.Addr) {
	if a = a.Unmap(); !h.used[a] {
		h.used[a] = false
	}
}

// Next takes the lowest free address. False: there is none.
func (h *Hosts) Next() (netip.Addr, bool) {
	for {
		for a := h.next; a.IsValid() && h.within.Contains(a); a = a.Next() {
			taken, known := h.used[a]
			if taken || known && !h.last {
				continue
			}
			h.used[a] = true
			h.next = a.Next()
			return a, true
		}
		if h.last {
			h.next = netip.Addr{}
			return netip.Addr{}, false
		}
		h.last, h.next = true, h.within.Addr()
	}
}

// Subnet is a Hosts with the prefix that its addresses are written with.
type Subnet struct {
	*Hosts
	Prefix netip.Prefix
}

// ParseSubnet reads a subnet as rows hold it: prefix, gateway and optional range as text.
func ParseSubnet(prefix, gateway, within string) (Subnet, error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return Subnet{}, err
	}
	g, r := First(p), netip.Prefix{}
	if gateway != "" {
		if g, err = netip.ParseAddr(gateway); err != nil {
			return Subnet{}, err
		}
	}
	if within != "" {
		if r, err = netip.ParsePrefix(within); err != nil {
			return Subnet{}, err
		}
	}
	return Subnet{Hosts: NewHosts(p.Masked(), g, r), Prefix: p.Masked()}, nil
}

// Take marks addresses written with or without a prefix length, as taken or as better avoided.
// Text that is no address is not in the subnet either.
func (s Subnet) Take(taken bool, addrs ...string) {
	for _, text := range addrs {
		text, _, _ = strings.Cut(text, "/")
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || !s.Prefix.Contains(a.Unmap()):
		case taken:
			s.Use(a)
		default:
			s.Avoid(a)
		}
	}
}
