//go:build linux

package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// used are the networks with somebody on them, now or since Reconcile, in the order of their bridges' names.
func (m *Manager) used() []*api.LocalNetwork {
	found := map[string]*api.LocalNetwork{}
	for id := range m.idle {
		if n := m.networks[id]; n != nil {
			found[id] = n
		}
	}
	for _, a := range m.attached {
		for _, ep := range a.Endpoints {
			if n := m.networks[ep.NetworkId]; n != nil {
				found[n.Id] = n
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *api.LocalNetwork) int { return cmp.Compare(a.Bridge, b.Bridge) })
}

func (m *Manager) wantedLinks() map[string]bool {
	out := map[string]bool{}
	for _, n := range m.used() {
		out[hostLink(n)] = true
	}
	return out
}

func isBridge(n *api.LocalNetwork) bool { return n.Driver == Bridge }

// rules are nil when nobody is attached to a bridge.
func (m *Manager) rules() *ruleset {
	networks := slices.DeleteFunc(m.used(), func(n *api.LocalNetwork) bool { return !isBridge(n) })
	if len(networks) == 0 {
		return nil
	}
	return buildRules(networks, slices.Collect(maps.Values(m.attached)))
}

// Reconcile replaces what the Manager knows by the attachments of all containers, and makes the kernel equal to it:
// what is missing is made, what nobody wants is deleted. Ports are held again. rows is called when no one is being
// attached or detached: it must know whoever is attached already, and none who is detached already.
func (m *Manager) Reconcile(_ context.Context, rows func() []Attachment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := rows()
	clear(m.attached)
	clear(m.idle)
	for _, a := range all {
		m.attached[a.Container] = a
	}
	var errs []error
	for _, a := range all {
		err := m.attach(a)
		if len(a.Endpoints) == 0 && !isNamespace(a.NetNS) {
			err = nil // it has just ended, and nothing of it was to be there
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("container %s: %w", a.Name, err))
		}
		m.holdAgain(a)
	}
	for container := range m.holds {
		if _, ok := m.attached[container]; !ok {
			closeAll(m.holds[container])
			delete(m.holds, container)
		}
	}
	errs = append(errs, m.sweepLinks(), m.reconcileRules(), m.warnOfFirewall())
	if !m.begun { // later ends are told by Detach
		m.begun = true
		m.forgetStrays()
	}
	return errors.Join(errs...)
}

// holdAgain takes back the ports of a container that ran on without a daemon. One that was taken meanwhile is still led
// to the container by the rules, so that it is only worth a warning.
func (m *Manager) holdAgain(a Attachment) {
	if _, ok := m.holds[a.Container]; ok {
		return
	}
	var holds []*hold
	for _, p := range a.Ports {
		p = proto.CloneOf(p)
		h, err := m.hold(a.Container, p)
		if err != nil {
			m.log.Warn("published port is not held", "container", a.Container, "error", m.portError(p, err))
			continue
		}
		holds = append(holds, h)
	}
	if len(holds) > 0 {
		m.holds[a.Container] = holds
	}
}

// sweepLinks deletes interfaces of ours that follow from no attachment.
func (m *Manager) sweepLinks() error {
	wanted := m.wantedLinks()
	for _, a := range m.attached {
		for _, ep := range a.Endpoints {
			wanted[vethName(a.Container, ep.NetworkId)] = true
		}
	}
	links, err := retryDump(m.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		if ours(l) && !wanted[l.Attrs().Name] {
			errs = append(errs, deleteLink(m.nl, l))
		}
	}
	return errors.Join(errs...)
}

// reconcileRules writes the table anew if it is not known to be right. A table that somebody else has removed is found.
func (m *Manager) reconcileRules() error {
	want := m.rules()
	present, err := m.tablePresent()
	if err != nil {
		return err
	}
	if want == nil {
		m.applied = nil
		if !present {
			return nil
		}
		return m.applyRules(nil)
	}
	if !present {
		m.applied = nil
	}
	return m.applyRules(want)
}

// forgetFlows lets go of connections that the kernel tracks to a port from before it was published, or published no more:
// packets of UDP would follow them past the rules, and to whoever has the container's address next.
func (m *Manager) forgetFlows(a Attachment) {
	for _, p := range a.Ports {
		if p.Protocol != "udp" {
			continue
		}
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			f := &netlink.ConntrackFilter{}
			if f.AddProtocol(unix.IPPROTO_UDP) != nil || f.AddPort(netlink.ConntrackOrigDstPort, uint16(p.HostPort)) != nil {
				continue
			}
			if _, err := m.nl.ConntrackDeleteFilters(netlink.ConntrackTable, family, f); err != nil {
				m.log.Warn("tracked connections were not removed", "port", p.HostPort, "error", err)
			}
		}
	}
}
