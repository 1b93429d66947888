//go:build linux

package netstate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Space is a namespace to work on.
type Space struct {
	H  *netlink.Handle
	FD int // of the namespace
	// Under makes links whose outer side lives elsewhere: the vxlan links of a sandbox are made by a handle of the
	// daemon's own namespace, where their UDP sockets then stay. nil: H.
	Under *netlink.Handle
	// Offload false: checksums of what goes into a vxlan link are computed before.
	Offload bool
	// Tune is called with the name of a new vxlan link when Offload is false.
	Tune func(name string) error
}

// LinksByName lists all links.
func (s Space) LinksByName() (map[string]netlink.Link, error) {
	links, err := retry(s.H.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	byName := make(map[string]netlink.Link, len(links))
	for _, l := range links {
		byName[l.Attrs().Name] = l
	}
	return byName, nil
}

// DiffLinks compares links. Its ops must be applied before Diff is asked.
func (s Space) DiffLinks(want []Link) ([]Op, error) {
	have, err := s.LinksByName()
	if err != nil {
		return nil, err
	}
	var ops []Op
	for _, w := range want {
		l := have[w.Name]
		switch {
		case l == nil && w.Kind == "":
			ops = append(ops, Op{fmt.Sprintf("link %s is missing", w.Name), func() error { return fmt.Errorf("nobody makes link %s", w.Name) }})
		case l == nil:
			ops = append(ops, Op{fmt.Sprintf("link %s is missing", w.Name), func() error { return s.create(w) }})
		case !sameKind(w, l):
			ops = append(ops, Op{fmt.Sprintf("link %s is not the wanted %s", w.Name, w.Kind), func() error {
				if err := s.H.LinkDel(l); err != nil {
					return err
				}
				return s.create(w)
			}})
		default:
			ops = append(ops, s.diffAttrs(w, l)...)
		}
	}
	return ops, nil
}

func sameKind(w Link, l netlink.Link) bool {
	if w.Kind != "" && w.Kind != l.Type() {
		return false
	}
	v, ok := l.(*netlink.Vxlan)
	if !ok {
		return true
	}
	local, _ := netip.AddrFromSlice(v.SrcAddr)
	return w.VXLAN == VXLAN{VNI: uint32(v.VxlanId), Port: uint16(v.Port), Local: local.Unmap()} && !v.Learning
}

func (s Space) diffAttrs(w Link, l netlink.Link) []Op {
	var ops []Op
	if a := l.Attrs(); w.MTU != 0 && a.MTU != w.MTU {
		ops = append(ops, Op{fmt.Sprintf("link %s has MTU %d, not %d", w.Name, a.MTU, w.MTU), func() error { return s.H.LinkSetMTU(l, w.MTU) }})
	}
	if a := l.Attrs(); w.MAC != "" && a.HardwareAddr.String() != w.MAC {
		ops = append(ops, Op{fmt.Sprintf("link %s has address %s, not %s", w.Name, a.HardwareAddr, w.MAC), func() error { return s.H.LinkSetHardwareAddr(l, mac(w.MAC)) }})
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		ops = append(ops, Op{fmt.Sprintf("link %s is down", w.Name), func() error { return s.H.LinkSetUp(l) }})
	}
	return ops
}

func (s Space) create(w Link) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = w.Name, w.MTU, mac(w.MAC)
	var err error
	switch w.Kind {
	case "bridge":
		err = s.H.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	case "vxlan":
		err = s.createVXLAN(attrs, w.VXLAN)
	default:
		err = fmt.Errorf("unknown kind %q", w.Kind)
	}
	if err != nil {
		return err
	}
	if w.Kind == "vxlan" && !s.Offload && s.Tune != nil {
		if err := s.Tune(w.Name); err != nil {
			return fmt.Errorf("switch checksum offload off: %w", err)
		}
	}
	l, err := s.H.LinkByName(w.Name)
	if err != nil {
		return err
	}
	if w.Kind == "bridge" && w.MTU != 0 {
		// Only an MTU set after birth is kept; the other follows the ports.
		if err := s.H.LinkSetMTU(l, w.MTU); err != nil {
			return err
		}
	}
	return s.H.LinkSetUp(l)
}

// createVXLAN makes the link in this space with its socket in Under's. The VNI of a namespace that just went is free
// only when the kernel has taken it down, hence the patience.
func (s Space) createVXLAN(attrs netlink.LinkAttrs, v VXLAN) error {
	h := s.H
	if s.Under != nil {
		h, attrs.Namespace = s.Under, netlink.NsFd(s.FD)
	}
	link := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: int(v.VNI), Port: int(v.Port), SrcAddr: v.Local.AsSlice(), UDPCSum: true, Learning: false}
	deadline := time.Now().Add(2 * time.Second)
	for {
		err := h.LinkAdd(link)
		if !errors.Is(err, unix.EEXIST) || time.Now().After(deadline) {
			return explainVXLAN(err, v)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func explainVXLAN(err error, v VXLAN) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("another interface of this host has VXLAN number %d on UDP port %d: %w", v.VNI, v.Port, err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("UDP port %d is taken by another program; choose another data path port: %w", v.Port, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this kernel has no VXLAN (module vxlan): %w", err)
	}
	return err
}

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		return nil
	}
	return m
}
