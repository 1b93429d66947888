//go:build linux

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// hostEnd is the interface of this host that leads to the container; a parent's children have none.
func (m *Manager) hostEnd(p *plug) (netlink.Link, error) {
	if p.network.Driver != Bridge {
		return nil, nil
	}
	return m.link(p.veth)
}

func (m *Manager) make(p *plug, name string, inside *netlink.Handle, ns netns.NsHandle) error {
	add := m.addVeth
	if p.network.Driver != Bridge {
		add = m.addChild
	}
	err := add(p, newName, ns)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this host's kernel has no %s", p.network.Driver)
	case errors.Is(err, unix.EBUSY) && p.network.Driver != Bridge:
		return fmt.Errorf("%s is in use in another way (a bridge's port, or by macvlan and ipvlan both): %w", p.host.Attrs().Name, err)
	case err != nil:
		return err
	}
	link, err := inside.LinkByName(newName)
	if err != nil {
		return err
	}
	m.cfg.FaultPoint("network.plug")
	if err := inside.LinkSetAlias(link, insideAlias+p.network.Id); err != nil {
		return err
	}
	m.cfg.FaultPoint("network.alias")
	if err := inside.LinkSetName(link, name); err != nil {
		return err
	}
	link.Attrs().Name = name
	m.cfg.FaultPoint("network.named")
	if err := configure(link, p.ep, inside); err != nil {
		return err
	}
	if p.network.Driver == Bridge {
		if err := m.introduce(p, link, inside); err != nil {
			return err
		}
	}
	return m.carry(p, link, inside)
}

func (p *plug) isWhole(in, old netlink.Link) bool {
	up := in.Attrs().Flags&net.FlagUp != 0
	if p.network.Driver != Bridge {
		return up && in.Attrs().ParentIndex == p.host.Attrs().Index
	}
	return up && old != nil && in.Attrs().ParentIndex == old.Attrs().Index &&
		old.Attrs().MasterIndex == p.host.Attrs().Index && old.Attrs().Flags&net.FlagUp != 0
}

// freeName is the first of eth0, eth1, ... that a container has not.
func freeName(inside *netlink.Handle) (string, error) {
	links, err := retryDump(inside.LinkList)
	if err != nil {
		return "", fmt.Errorf("list interfaces: %w", err)
	}
	for i := 0; ; i++ {
		name := "eth" + strconv.Itoa(i)
		if !slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name }) {
			return name, nil
		}
	}
}

// newName is that of an interface that has no mark yet.
const newName = "shl-new"

// configure sets addresses inside the container, and the interface up.
func configure(link netlink.Link, ep *api.NetworkEndpoint, inside *netlink.Handle) error {
	for _, text := range ep.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if err := addAddr(inside, link, p); err != nil && !isOff(p.Addr(), err) {
			return err
		}
	}
	return setUp(inside, link)
}

// isOff says that an address was refused because the container has switched IPv6 off (net.ipv6.conf.*.disable_ipv6).
func isOff(a netip.Addr, err error) bool { return a.Is6() && errors.Is(err, unix.EACCES) }

// forgets is more than the kernel takes to remove a namespace and what is in it.
const forgets = 5 * time.Second

// setUp sets an interface up. One with a parent cannot have the hardware address of another that is up, and one of a container
// that has just ended is up until the kernel has removed its namespace, in its own time and without telling anybody.
func setUp(nl *netlink.Handle, link netlink.Link) error {
	err := nl.LinkSetUp(link)
	for end := time.Now().Add(forgets); errors.Is(err, unix.EADDRINUSE) && time.Now().Before(end); err = nl.LinkSetUp(link) {
		time.Sleep(2 * time.Millisecond)
	}
	return err
}
