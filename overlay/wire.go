//go:build linux

package overlay

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	ours "github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
)

func handleOf(ns *ours.NS) netns.NsHandle { return netns.NsHandle(ns.FD()) }

// connect makes the pair of links between a container and this namespace, both ends in their places at once. The
// container is to be dressed when all its pairs are there.
func (s *space) connect(v *view, x wire) error {
	inside, err := ours.Open(x.claim.NetNS)
	if err != nil {
		return fmt.Errorf("connect container %s: %w", x.claim.ID, err)
	}
	defer inside.Close()
	if err := inside.Do(func() error { return ours.Write(ours.Unequal(containerSettings)) }); err != nil {
		return fmt.Errorf("prepare namespace of container %s: %w", x.claim.ID, err)
	}
	err = s.addPair(x, inside)
	if errors.Is(err, unix.EEXIST) {
		// What is left of an earlier try, or of a sandbox that went away under the container.
		if err = removeLeftover(inside, x.inside); err == nil {
			err = s.addPair(x, inside)
		}
	}
	if err != nil {
		return fmt.Errorf("create %s of container %s: %w", x.inside, x.claim.ID, err)
	}
	link, err := s.h.LinkByName(x.link)
	if err != nil {
		return fmt.Errorf("find link %s: %w", x.link, err)
	}
	if err := s.h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %s: %w", x.link, err)
	}
	s.undressed = append(s.undressed, x.claim)
	return nil
}

func (s *space) addPair(x wire, inside *ours.NS) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = x.link, x.mtu
	attrs.HardwareAddr, _ = net.ParseMAC(x.macOut)
	mac, _ := net.ParseMAC(x.macIn)
	return s.h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: x.inside, PeerHardwareAddr: mac, PeerMTU: uint32(x.mtu),
		PeerNamespace: netlink.NsFd(inside.FD())})
}

// removeLeftover deletes a veth of this name; an interface of another kind is not ours to remove.
func removeLeftover(inside *ours.NS, name string) error {
	h, err := netlink.NewHandleAt(handleOf(inside), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if l.Type() != "veth" {
		return fmt.Errorf("the namespace has an interface %s of kind %s already", name, l.Type())
	}
	return h.LinkDel(l)
}

// dress gives a container's interfaces what they should hold, or with dry only lists what differs. Whoever has switched IPv6 off
// inside, or on one interface, is left without it.
func dress(v *view, c *Attachment, dry bool) ([]string, error) {
	inside, err := ours.Open(c.NetNS)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.ID, err)
	}
	defer inside.Close()
	h, err := netlink.NewHandleAt(handleOf(inside), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink for container %s: %w", c.ID, err)
	}
	defer h.Close()
	sp := netstate.Space{H: h, FD: inside.FD()}
	lines, err := dressAs(sp, v.container(c), dry)
	if err != nil || dry && len(lines) > 0 {
		if some, fewer := c.without6(inside); fewer {
			lines, err = dressAs(sp, v.container(some), dry)
		}
	}
	for i := range lines {
		lines[i] = "container " + c.ID + ": " + lines[i]
	}
	if err != nil {
		err = fmt.Errorf("container %s: %w", c.ID, err)
	}
	return lines, err
}

func dressAs(sp netstate.Space, w *want, dry bool) (lines []string, err error) {
	for _, step := range []func() ([]netstate.Op, error){
		func() ([]netstate.Op, error) { return sp.DiffLinks(w.state.Links) },
		func() ([]netstate.Op, error) { return sp.Diff(w.state, w.scope) },
	} {
		ops, err := step()
		if err == nil && !dry {
			err = netstate.Apply(ops)
		}
		if err != nil {
			return lines, err
		}
		for _, op := range ops {
			lines = append(lines, op.What)
		}
	}
	if dry || len(lines) == 0 {
		return lines, nil
	}
	return lines, sp.Local(w.state.Addrs...)
}
