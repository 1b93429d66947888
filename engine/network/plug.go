//go:build linux

package network

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
