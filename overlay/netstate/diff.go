//go:build linux

package netstate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Diff compares everything but the links. An entry that hangs on a missing link is reported and fails to apply.
func (s Space) Diff(want State, scope Scope) ([]Op, error) {
	links, err := s.LinksByName()
	if err != nil {
		return nil, err
	}
	d := differ{Space: s, want: want, scope: scope, links: links, names: map[int]string{}}
	for name, l := range links {
		d.names[l.Attrs().Index] = name
	}
	var add, del []Op
	for _, part := range []func() ([]Op, []Op, error){d.addrs, d.neighs, d.fdb, d.routes, d.rules} {
		a, r, err := part()
		if err != nil {
			return nil, err
		}
		add, del = append(add, a...), append(r, del...) // removed in the opposite order
	}
	return append(add, del...), nil
}

type differ struct {
	Space
	want  State
	scope Scope
	links map[string]netlink.Link
	names map[int]string
}

func (d *differ) index(dev string) (int, error) {
	if l := d.links[dev]; l != nil {
		return l.Attrs().Index, nil
	}
	return 0, fmt.Errorf("link %s is missing", dev)
}

func (d *differ) keep(dev string) bool { return d.scope.Keep != nil && d.scope.Keep(dev) }

func (d *differ) addrs() (add, del []Op, err error) {
	list, err := retry(func() ([]netlink.Addr, error) { return d.H.AddrList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return nil, nil, fmt.Errorf("list addresses: %w", err)
	}
	var got []Addr
	for _, a := range list {
		p := prefixOf(a.IPNet)
		if dev := d.names[a.LinkIndex]; d.scope.Devices[dev] && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			got = append(got, Addr{dev, p})
		}
	}
	missing, extra := diff(d.want.Addrs, got)
	for _, a := range missing {
		add = append(add, Op{fmt.Sprintf("address %s on %s is missing", a.Prefix, a.Dev), func() error { return d.addrDo(a, d.H.AddrReplace) }})
	}
	for _, a := range extra {
		del = append(del, Op{fmt.Sprintf("address %s on %s is unwanted", a.Prefix, a.Dev), func() error { return Gone(d.addrDo(a, d.H.AddrDel)) }})
	}
	return add, del, nil
}

func (d *differ) addrDo(a Addr, do func(netlink.Link, *netlink.Addr) error) error {
	if _, err := d.index(a.Dev); err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(a.Prefix)}
	if a.Prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD // the store gave it to nobody else; waiting a second proves nothing
	}
	return do(d.links[a.Dev], addr)
}

func (d *differ) neighs() (add, del []Op, err error) {
	list, err := retry(func() ([]netlink.Neigh, error) { return d.H.NeighList(0, unix.AF_UNSPEC) })
	if err != nil {
		return nil, nil, fmt.Errorf("list neighbours: %w", err)
	}
	var got []Neigh
	for _, n := range list {
		dev := d.names[n.LinkIndex]
		addr, ok := netip.AddrFromSlice(n.IP)
		if ok && d.scope.Devices[dev] && n.State&netlink.NUD_PERMANENT != 0 && !addr.IsMulticast() {
			got = append(got, Neigh{dev, addr.Unmap(), n.HardwareAddr.String()})
		}
	}
	missing, extra := diff(d.want.Neighs, got)
	replaced := map[Neigh]bool{}
	for _, n := range missing {
		replaced[Neigh{Dev: n.Dev, Addr: n.Addr}] = true
		add = append(add, Op{fmt.Sprintf("neighbour %s on %s is missing", n.Addr, n.Dev), func() error { return d.neighDo(n, d.H.NeighSet) }})
	}
	for _, n := range extra {
		if d.keep(n.Dev) || replaced[Neigh{Dev: n.Dev, Addr: n.Addr}] {
			continue
		}
		del = append(del, Op{fmt.Sprintf("neighbour %s on %s is unwanted", n.Addr, n.Dev), func() error { return Gone(d.neighDo(n, d.H.NeighDel)) }})
	}
	return add, del, nil
}

func (d *differ) neighDo(n Neigh, do func(*netlink.Neigh) error) error {
	index, err := d.index(n.Dev)
	if err != nil {
		return err
	}
	return do(&netlink.Neigh{LinkIndex: index, Family: family(n.Addr), State: netlink.NUD_PERMANENT, IP: n.Addr.AsSlice(), HardwareAddr: mac(n.MAC)})
}

func (d *differ) fdb() (add, del []Op, err error) {
	list, err := retry(func() ([]netlink.Neigh, error) { return d.H.NeighList(0, unix.AF_BRIDGE) })
	if err != nil {
		return nil, nil, fmt.Errorf("list forwarding entries: %w", err)
	}
	var got []FDB
	for _, n := range list {
		dev := d.names[n.LinkIndex]
		if !d.scope.Devices[dev] || len(n.HardwareAddr) != 6 {
			continue
		}
		if vtep, ok := netip.AddrFromSlice(n.IP); ok && n.Flags&netlink.NTF_SELF != 0 {
			got = append(got, FDB{dev, n.HardwareAddr.String(), vtep.Unmap()})
		}
	}
	missing, extra := diff(d.want.FDB, got)
	replaced := map[FDB]bool{}
	for _, f := range missing {
		replaced[FDB{Dev: f.Dev, MAC: f.MAC}] = true
		add = append(add, Op{fmt.Sprintf("forwarding entry %s on %s is missing", f.MAC, f.Dev), func() error { return d.fdbDo(f, d.H.NeighSet) }})
	}
	for _, f := range extra {
		if d.keep(f.Dev) || replaced[FDB{Dev: f.Dev, MAC: f.MAC}] {
			continue
		}
		del = append(del, Op{fmt.Sprintf("forwarding entry %s on %s is unwanted", f.MAC, f.Dev), func() error { return Gone(d.fdbDo(f, d.H.NeighDel)) }})
	}
	return add, del, nil
}

func (d *differ) fdbDo(f FDB, do func(*netlink.Neigh) error) error {
	index, err := d.index(f.Dev)
	if err != nil {
		return err
	}
	return do(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, HardwareAddr: mac(f.MAC), State: netlink.NUD_PERMANENT,
		Flags: netlink.NTF_SELF, IP: f.VTEP.AsSlice()})
}

// Gone takes "it is not there" for success of a removal.
func Gone(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ESRCH, unix.EADDRNOTAVAIL, unix.ENODEV} {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	a = a.Unmap()
	if size == 128 && a.Is4() {
		bits -= 96
	}
	return netip.PrefixFrom(a, bits)
}
