//go:build linux

package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// Create makes a network. Subnets that are not given are chosen so that they meet no route of this host.
func (m *Manager) Create(_ context.Context, want *api.LocalNetwork) (*api.LocalNetwork, error) {
	n := proto.CloneOf(want)
	if n.Driver == "" {
		n.Driver = Bridge
	}
	n.Id, n.CreatedAt, n.Endpoints = id.NewHex(), timestamppb.Now(), nil
	o, err := m.check(n)
	if err != nil {
		return nil, err
	}
	if n.Bridge = ""; n.Driver == Bridge {
		n.Bridge = cmp.Or(o.bridge, bridgePrefix+n.Id[:10])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName(n.Name) != nil {
		return nil, fmt.Errorf("%w: %s: choose another name or remove that one", ErrExists, n.Name)
	}
	if err := m.linkIsFree(n); err != nil {
		return nil, err
	}
	if err := m.addLocked(n); err != nil {
		return nil, err
	}
	return n, nil
}

// check refuses what no driver could make.
func (m *Manager) check(n *api.LocalNetwork) (options, error) {
	o, err := parseOptions(n)
	switch {
	case !names.Object(n.Name):
		return o, fmt.Errorf("%w: name %q: use letters, digits, '_', '.' and '-', the first a letter or digit", ErrInvalid, n.Name)
	case n.Driver != Bridge && n.Driver != Macvlan && n.Driver != IPvlan:
		return o, fmt.Errorf("%w: driver %q: this node makes networks of driver bridge, macvlan and ipvlan, the cluster those of driver overlay", ErrInvalid, n.Driver)
	case n.Ipv6 && !m.ipv6:
		return o, fmt.Errorf("%w: IPv6 is switched off on this host", ErrInvalid)
	case err != nil:
		return o, err
	case n.Driver == Bridge:
		return o, nil
	}
	return o, m.checkParent(n, o)
}

// linkIsFree refuses to share an interface: a bridge with anybody, the parent of a passthru network with another one.
func (m *Manager) linkIsFree(n *api.LocalNetwork) error {
	for _, other := range m.networks {
		shared := hostLink(other) != "" && hostLink(other) == hostLink(n)
		if shared && (n.Driver == Bridge || other.Driver == Bridge || takesOne(n) || takesOne(other) || n.Driver != other.Driver) {
			return fmt.Errorf("%w: interface %s is %w by network %s", ErrInvalid, hostLink(n), ErrInUse, other.Name)
		}
	}
	if n.Driver != Bridge {
		return nil
	}
	l, err := m.link(n.Bridge)
	if err == nil && l != nil {
		err = fmt.Errorf("%w: this host has an interface %s already: choose another name for the bridge", ErrInvalid, n.Bridge)
	}
	return err
}

// Remove deletes a network that nobody is attached to.
func (m *Manager) Remove(_ context.Context, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get(ref)
	if err != nil {
		return err
	}
	if n.Name == Bridge || n.Driver == Host || n.Driver == None {
		return fmt.Errorf("%w: network %s is always there and cannot be removed", ErrInvalid, n.Name)
	}
	for _, a := range m.attached {
		if a.on(n.Id) {
			return fmt.Errorf("network %s is %w by container %s", n.Name, ErrInUse, a.Name)
		}
	}
	if err := durable.Remove(m.file(n.Id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	m.cfg.FaultPoint("network.removed")
	delete(m.networks, n.Id)
	return m.removeLink(n)
}

// removeLink deletes what nobody is on any more, with its rules.
func (m *Manager) removeLink(n *api.LocalNetwork) error {
	l, err := m.link(hostLink(n))
	if err == nil && l != nil && ours(l) && !m.wantedLinks()[hostLink(n)] {
		err = deleteLink(m.nl, l)
	}
	if m.idle[n.Id] {
		delete(m.idle, n.Id)
		err = errors.Join(err, m.applyRules(m.rules()))
	}
	return err
}
