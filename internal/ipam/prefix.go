package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// ParsePools reads prefixes of one address family or both. An entry that is not the
// beginning of its own prefix (10.1.2.3/8) is an error, it is most likely a slip.
func ParsePools(pools []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range pools {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("address pool %q: want ADDRESS/LENGTH such as 10.96.0.0/12", s)
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("address pool %q: host bits are set, did you mean %s?", s, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

// NextPrefix returns the lowest prefix of the given length inside the pools, in their order,
// that overlaps nothing in used. Pools too small for the length are passed over. A default
// route (length 0) in used says nothing about an address and is ignored.
func NextPrefix(pools []netip.Prefix, bits int, used []netip.Prefix) (netip.Prefix, bool) {
	taken := sorted(used)
	for _, pool := range pools {
		if p, ok := nextIn(pool, bits, taken); ok {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// nextIn sweeps over taken once: both it and the candidate only move upward.
func nextIn(pool netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	if bits < pool.Bits() || bits > pool.Addr().BitLen() {
		return netip.Prefix{}, false
	}
	free := netip.PrefixFrom(pool.Masked().Addr(), bits)
	for _, t := range taken {
		if t.Addr().BitLen() != pool.Addr().BitLen() || !t.Overlaps(free) {
			continue
		}
		// Go on behind the last block that t touches.
		after := Last(netip.PrefixFrom(Last(t), bits)).Next()
		if !after.IsValid() || !pool.Contains(after) {
			return netip.Prefix{}, false
		}
		free = netip.PrefixFrom(after, bits)
	}
	return free, true
}

func sorted(used []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(used))
	for _, p := range used {
		if p.IsValid() && p.Bits() > 0 {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return out
}

// Overlapping returns the first of used that overlaps p.
func Overlapping(p netip.Prefix, used []netip.Prefix) (netip.Prefix, bool) {
	for _, u := range used {
		if u.IsValid() && u.Bits() > 0 && u.Overlaps(p) {
			return u, true
		}
	}
	return netip.Prefix{}, false
}
