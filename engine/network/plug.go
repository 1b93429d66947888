//go:build linux

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// plug is one interface of a container, and what it leads to.
type plug struct {
	network *api.LocalNetwork
	ep      *api.NetworkEndpoint
	host    netlink.Link // bridge or parent
	veth    string       // the host's end, for a bridge
}

// insideAlias marks an interface of ours inside a container. Its name may be anything: networks come and go.
const insideAlias = "shoal network "

// newName is that of an interface that has no mark yet.
const newName = "shl-new"

// plugs makes what a container's interfaces lead to.
func (m *Manager) plugs(a Attachment) ([]*plug, error) {
	var out []*plug
	for _, ep := range a.Endpoints {
		n := m.networks[ep.NetworkId]
		if n == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, ep.Network)
		}
		p := &plug{network: n, ep: ep, veth: vethName(a.Container, n.Id)}
		m.awaitRetired(p.veth)
		var err error
		if n.Driver == Bridge {
			p.host, err = m.ensureBridge(n)
		} else {
			p.host, err = m.ensureParent(n)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// attach makes a container's interfaces those of its endpoints. What is whole is left alone.
func (m *Manager) attach(a Attachment) error {
	if !m.ipv6 {
		a = a.only4()
	}
	plugs, err := m.plugs(a)
	if err != nil {
		return err
	}
	return at(a.NetNS, func(inside *netlink.Handle, ns netns.NsHandle) error {
		have, err := retryDump(inside.LinkList)
		if err != nil {
			return fmt.Errorf("list interfaces: %w", err)
		}
		changed, err := removeStray(inside, have, a.Endpoints)
		for _, p := range plugs {
			if err != nil {
				return err
			}
			var made bool
			made, err = m.connect(p, have, inside, ns)
			changed = changed || made
		}
		if err != nil || !changed {
			return err // routes that a container has changed itself stay as they are
		}
		return defaultRoutes(inside, a.Endpoints)
	})
}

// only4 leaves out what a kernel without IPv6 does not take: networks and containers may be older than the host's decision.
func (a Attachment) only4() Attachment {
	six := func(text string) bool { return strings.Contains(text, ":") }
	a.Endpoints = slices.Clone(a.Endpoints)
	for i, ep := range a.Endpoints {
		ep = proto.CloneOf(ep)
		ep.Addresses, ep.Gateways = slices.DeleteFunc(ep.Addresses, six), slices.DeleteFunc(ep.Gateways, six)
		a.Endpoints[i] = ep
	}
	return a
}

// removeStray deletes the interfaces to networks that a container has left.
func removeStray(inside *netlink.Handle, have []netlink.Link, endpoints []*api.NetworkEndpoint) (removed bool, err error) {
	for _, l := range have {
		id, ok := strings.CutPrefix(l.Attrs().Alias, insideAlias)
		wanted := slices.ContainsFunc(endpoints, func(ep *api.NetworkEndpoint) bool { return ep.NetworkId == id })
		if wanted || !ok && l.Attrs().Name != newName {
			continue
		}
		if err := inside.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			return removed, fmt.Errorf("delete interface %s: %w", l.Attrs().Name, err)
		}
		removed = true
	}
	return removed, nil
}

// connect makes one interface of a container, ready for use. One that is whole already is left alone.
func (m *Manager) connect(p *plug, have []netlink.Link, inside *netlink.Handle, ns netns.NsHandle) (made bool, err error) {
	i := slices.IndexFunc(have, func(l netlink.Link) bool { return l.Attrs().Alias == insideAlias+p.network.Id })
	old, err := m.hostEnd(p)
	if err != nil {
		return false, err
	}
	if i >= 0 {
		if p.isWhole(have[i], old) {
			return false, nil
		}
		if err := inside.LinkDel(have[i]); err != nil && !errors.Is(err, unix.ENODEV) {
			return false, fmt.Errorf("delete interface %s: %w", have[i].Attrs().Name, err)
		}
	}
	if old != nil {
		if err := deleteLink(m.nl, old); err != nil {
			return false, err
		}
	}
	name, err := freeName(inside)
	if err != nil {
		return false, err
	}
	if err := m.make(p, name, inside, ns); err != nil {
		return false, fmt.Errorf("make %s on network %s: %w", name, p.network.Name, err)
	}
	return true, nil
}

// hostEnd is the interface of this host that leads to the container; a parent's children have none.
func (m *Manager) hostEnd(p *plug) (netlink.Link, error) {
	if p.network.Driver != Bridge {
		return nil, nil
	}
	return m.link(p.veth)
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
	m.cfg.FaultPoint("network.named")
	return configure(link, p.ep, inside)
}

// configure sets addresses inside the container, and the interface up.
func configure(link netlink.Link, ep *api.NetworkEndpoint, inside *netlink.Handle) error {
	for _, text := range ep.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if err := addAddr(inside, link, p); err != nil {
			return err
		}
	}
	return setUp(inside, link)
}

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

// defaultRoutes lead out by the first network with a gateway, for each family. Those that are there already stay.
func defaultRoutes(inside *netlink.Handle, endpoints []*api.NetworkEndpoint) error {
	links, err := retryDump(inside.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	done := map[bool]bool{} // by Is4
	for _, ep := range endpoints {
		i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Alias == insideAlias+ep.NetworkId })
		for _, gw := range ep.Gateways {
			addr, err := netip.ParseAddr(gw)
			if err != nil {
				return err
			}
			if i < 0 || done[addr.Is4()] {
				continue
			}
			done[addr.Is4()] = true
			if err := inside.RouteAdd(defaultRoute(links[i], addr)); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add default route via %s: %w", gw, err)
			}
		}
	}
	return nil
}

// defaultRoute leads through a gateway or, if that is 0.0.0.0 or ::, through the interface itself.
func defaultRoute(l netlink.Link, gw netip.Addr) *netlink.Route {
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: make(net.IP, gw.BitLen()/8), Mask: net.CIDRMask(0, gw.BitLen())}}
	if gw.IsUnspecified() {
		r.Scope = netlink.SCOPE_LINK
	} else {
		r.Gw = gw.AsSlice()
	}
	return r
}
