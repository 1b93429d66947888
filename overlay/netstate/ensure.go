//go:build linux

package netstate

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Ensure adds or replaces entries without looking at what is there. Links and rules are left out.
func (s Space) Ensure(st State) error {
	d := differ{Space: s, links: map[string]netlink.Link{}}
	dev := func(name string) error {
		if name == "" || d.links[name] != nil {
			return nil
		}
		l, err := s.H.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		d.links[name] = l
		return nil
	}
	for _, a := range st.Addrs {
		if err := first(dev(a.Dev), func() error { return d.addrDo(a, d.H.AddrReplace) }); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a.Prefix, a.Dev, err)
		}
	}
	for _, n := range st.Neighs {
		if err := first(dev(n.Dev), func() error { return d.neighDo(n, d.H.NeighSet) }); err != nil {
			return fmt.Errorf("add neighbour %s on %s: %w", n.Addr, n.Dev, err)
		}
	}
	for _, f := range st.FDB {
		if err := first(dev(f.Dev), func() error { return d.fdbDo(f, d.H.NeighSet) }); err != nil {
			return fmt.Errorf("add forwarding entry %s on %s: %w", f.MAC, f.Dev, err)
		}
	}
	for _, r := range st.Routes {
		if err := first(dev(r.Dev), func() error { return d.addRoute(r) }); err != nil {
			return fmt.Errorf("add route %s: %w", r, err)
		}
	}
	return nil
}

func first(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}
