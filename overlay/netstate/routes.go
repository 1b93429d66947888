//go:build linux

package netstate

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (d *differ) routes() (add, del []Op, err error) {
	var got []Route
	kernel := map[Route]netlink.Route{}
	filter := &netlink.Route{Protocol: Protocol, Table: unix.RT_TABLE_UNSPEC}
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := retry(func() ([]netlink.Route, error) {
			return d.H.RouteListFiltered(fam, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, nil, fmt.Errorf("list routes: %w", err)
		}
		for _, k := range list {
			r := d.fromKernel(k, fam)
			kernel[r] = k
			got = append(got, r)
		}
	}
	missing, extra := diff(d.want.Routes, got)
	type key struct {
		dst           netip.Prefix
		table, metric int
	}
	replaced := map[key]bool{}
	for _, r := range missing {
		replaced[key{r.Dst, r.Table, r.Metric}] = true
		add = append(add, Op{fmt.Sprintf("route %s is missing", r), func() error { return d.addRoute(r) }})
	}
	for _, r := range extra {
		if r.Dev != "" && d.keep(r.Dev) || replaced[key{r.Dst, r.Table, r.Metric}] {
			continue
		}
		k := kernel[r]
		del = append(del, Op{fmt.Sprintf("route %s is unwanted", r), func() error { return Gone(d.H.RouteDel(&k)) }})
	}
	return add, del, nil
}

func (d *differ) fromKernel(k netlink.Route, fam int) Route {
	r := Route{Unreachable: k.Type == unix.RTN_UNREACHABLE, Local: k.Type == unix.RTN_LOCAL, Table: k.Table}
	if r.Local {
		r.Metric = k.Priority // of the others it is the kernel's choice
	}
	if k.Dst != nil {
		r.Dst = prefixOf(k.Dst)
	} else if fam == unix.AF_INET {
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	} else {
		r.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = 0
	}
	if !r.Unreachable {
		r.Dev = d.names[k.LinkIndex]
	}
	if a, ok := netip.AddrFromSlice(k.Gw); ok {
		r.Via = a.Unmap()
	}
	if a, ok := netip.AddrFromSlice(k.Src); ok {
		r.Src = a.Unmap()
	}
	return r
}

func (d *differ) addRoute(r Route) error {
	k := &netlink.Route{Dst: ipNet(r.Dst), Protocol: Protocol, Table: r.Table}
	if r.Unreachable {
		k.Type = unix.RTN_UNREACHABLE
		return d.H.RouteReplace(k)
	}
	index, err := d.index(r.Dev)
	if err != nil {
		return err
	}
	k.LinkIndex = index
	switch {
	case r.Local:
		k.Type, k.Scope, k.Priority = unix.RTN_LOCAL, netlink.SCOPE_HOST, r.Metric
	case r.Via.IsValid():
		k.Gw, k.Flags = r.Via.AsSlice(), int(netlink.FLAG_ONLINK)
	case r.Dst.Addr().Is4():
		k.Scope = netlink.SCOPE_LINK
	}
	if r.Src.IsValid() {
		k.Src = r.Src.AsSlice()
	}
	return d.H.RouteReplace(k)
}

func (r Route) String() string {
	var b strings.Builder
	if r.Unreachable {
		b.WriteString("unreachable ")
	}
	if r.Local {
		b.WriteString("local ")
	}
	b.WriteString(r.Dst.String())
	if r.Via.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Via)
	}
	if r.Dev != "" {
		fmt.Fprintf(&b, " dev %s", r.Dev)
	}
	if r.Table != 0 {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	return b.String()
}

func (d *differ) rules() (add, del []Op, err error) {
	if d.scope.RulePriority == 0 {
		return nil, nil, nil
	}
	var got []Rule
	kernel := map[Rule]netlink.Rule{}
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := retry(func() ([]netlink.Rule, error) { return d.H.RuleList(fam) })
		if err != nil {
			return nil, nil, fmt.Errorf("list routing rules: %w", err)
		}
		for _, k := range list {
			// A kernel without IPv6 answers a question about its rules with those of IPv4.
			if k.Priority != d.scope.RulePriority || k.Family != fam {
				continue
			}
			r := Rule{V6: fam == unix.AF_INET6, Priority: k.Priority, Mark: k.Mark, Table: k.Table}
			k.Family = fam
			kernel[r] = k
			got = append(got, r)
		}
	}
	missing, extra := diff(d.want.Rules, got)
	for _, r := range missing {
		add = append(add, Op{fmt.Sprintf("routing rule for mark %#x is missing", r.Mark), func() error { return d.H.RuleAdd(newRule(r)) }})
	}
	for _, r := range extra {
		k := kernel[r]
		del = append(del, Op{fmt.Sprintf("routing rule for mark %#x is unwanted", r.Mark), func() error { return Gone(d.H.RuleDel(&k)) }})
	}
	return add, del, nil
}

func newRule(r Rule) *netlink.Rule {
	k := netlink.NewRule()
	k.Family = unix.AF_INET
	if r.V6 {
		k.Family = unix.AF_INET6
	}
	k.Priority, k.Mark, k.Table = r.Priority, r.Mark, r.Table
	return k
}
