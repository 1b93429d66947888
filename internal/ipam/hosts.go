package ipam

import (
	"net/netip"
	"strings"
)

// Hosts hands out the host addresses of one subnet. The subnet's own address, IPv4's
// broadcast address and the gateway are never given.
type Hosts struct {
	within      netip.Prefix
	used        map[netip.Addr]bool // true: taken; false: better avoided
	start, next netip.Addr          // a round goes from start to the end, and then from the beginning to start
	given       netip.Addr          // by Next, or before
	wrapped     bool                // this round has come to the end
	last        bool                // second round, which takes avoided addresses too
}

// NewHosts starts with an empty subnet. within limits the addresses to a part of it; the
// zero Prefix means all of it.
func NewHosts(subnet netip.Prefix, gateway netip.Addr, within netip.Prefix) *Hosts {
	if !within.IsValid() {
		within = subnet
	}
	h := &Hosts{within: within.Masked(), used: map[netip.Addr]bool{}}
	h.begin(h.within.Addr())
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

// After begins behind an address that was given before, so that what is given back waits until all others have had their
// turn. An address of elsewhere changes nothing.
func (h *Hosts) After(a netip.Addr) {
	if a = a.Unmap(); h.within.Contains(a) {
		h.given = a
		h.begin(a.Next())
	}
}

func (h *Hosts) begin(a netip.Addr) {
	if !a.IsValid() || !h.within.Contains(a) {
		a = h.within.Addr()
	}
	h.start, h.next, h.wrapped = a, a, false
}

// Next takes the next free address: the lowest behind the one that After names, else the lowest. False: there is none.
func (h *Hosts) Next() (netip.Addr, bool) {
	for {
		a, ok := h.step()
		switch taken, known := h.used[a]; {
		case !ok && h.last:
			return netip.Addr{}, false
		case !ok:
			h.last = true
			h.begin(h.start)
		case !taken && (!known || h.last):
			h.used[a], h.given = true, a
			return a, true
		}
	}
}

// step is the next address of a round, free or not.
func (h *Hosts) step() (netip.Addr, bool) {
	if !h.wrapped && (!h.next.IsValid() || !h.within.Contains(h.next)) {
		h.wrapped, h.next = true, h.within.Addr()
	}
	if h.wrapped && h.next == h.start {
		return netip.Addr{}, false
	}
	a := h.next
	h.next = a.Next()
	return a, true
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

// ParseSubnets reads the subnets of a network. last are addresses that were given last, one for each of them.
func ParseSubnets[C interface {
	GetSubnet() string
	GetGateway() string
	GetIpRange() string
}](rows []C, last []string) ([]Subnet, error) {
	var out []Subnet
	for _, c := range rows {
		s, err := ParseSubnet(c.GetSubnet(), c.GetGateway(), c.GetIpRange())
		if err != nil {
			return nil, err
		}
		for _, text := range last {
			if a, err := netip.ParseAddr(text); err == nil && s.Prefix.Contains(a) {
				s.After(a)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// LastGiven is for ParseSubnets next time.
func LastGiven(subnets []Subnet) (last []string) {
	for _, s := range subnets {
		if s.given.IsValid() {
			last = append(last, s.given.String())
		}
	}
	return last
}
