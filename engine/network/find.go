//go:build linux

package network

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func (m *Manager) byName(name string) *api.LocalNetwork {
	for _, n := range m.networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// List returns the networks, oldest first. They are not to be changed.
func (m *Manager) List() []*api.LocalNetwork {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*api.LocalNetwork, 0, len(m.networks))
	for _, n := range m.networks {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *api.LocalNetwork) int {
		return cmp.Or(a.CreatedAt.AsTime().Compare(b.CreatedAt.AsTime()), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Get finds a network by name, ID or unique beginning of an ID.
func (m *Manager) Get(ref string) (*api.LocalNetwork, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(ref)
}

func (m *Manager) get(ref string) (*api.LocalNetwork, error) {
	if n := m.networks[ref]; n != nil {
		return n, nil
	}
	if n := m.byName(ref); n != nil {
		return n, nil
	}
	var found *api.LocalNetwork
	for nid, n := range m.networks {
		if ref != "" && strings.HasPrefix(nid, ref) {
			if found != nil {
				return nil, fmt.Errorf("%w: %q is the beginning of more than one network's ID", ErrInvalid, ref)
			}
			found = n
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, ref)
	}
	return found, nil
}
