//go:build linux

package network

import (
	"net/netip"
	"slices"

	"github.com/shoal-dev/shoal/proto/api"
)

// Attachment is one container's place on local networks, as its row says.
type Attachment struct {
	Container string // ID
	Name      string
	NetNS     string                 // path
	Endpoints []*api.NetworkEndpoint // eth0, eth1, ... in order
	Ports     []*api.PortBinding     // with host ports
}

func (a Attachment) on(networkID string) bool {
	return slices.ContainsFunc(a.Endpoints, func(ep *api.NetworkEndpoint) bool { return ep.NetworkId == networkID })
}

// HasNames says whether containers find each other by name on an endpoint's network. On the default bridge they do not.
func HasNames(ep *api.NetworkEndpoint) bool { return ep.Network != Bridge }

// HostAddress is where a container reaches this host: the address of its first bridge. Invalid: nowhere.
func (m *Manager) HostAddress(endpoints []*api.NetworkEndpoint) netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ep := range endpoints {
		if n := m.networks[ep.NetworkId]; n != nil && n.Driver == Bridge {
			a, _ := netip.ParseAddr(n.Ipam[0].Gateway)
			return a
		}
	}
	return netip.Addr{}
}
