//go:build linux

package engine

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// CreateNetwork makes a local network.
func (e *Engine) CreateNetwork(ctx context.Context, n *api.LocalNetwork) (*api.LocalNetwork, error) {
	made, err := e.cfg.Networks.Create(ctx, n)
	if err == nil {
		e.announce(aboutNetwork, "create", made.Id, map[string]string{"name": made.Name, "type": made.Driver})
	}
	return made, err
}

// ListNetworks returns the local networks with the containers on each.
func (e *Engine) ListNetworks() []*api.LocalNetwork {
	var out []*api.LocalNetwork
	for _, n := range e.cfg.Networks.List() {
		n = proto.CloneOf(n)
		n.Endpoints = e.endpointsOn(n.Id)
		out = append(out, n)
	}
	return out
}

// endpointsOn are the endpoints on a network, each with its container's name and ID in place of the network's.
func (e *Engine) endpointsOn(networkID string) []*api.NetworkEndpoint {
	var out []*api.NetworkEndpoint
	for _, c := range e.all() {
		row := c.get()
		for _, ep := range row.Endpoints {
			if ep.NetworkId != networkID {
				continue
			}
			ep = proto.CloneOf(ep)
			ep.Network, ep.NetworkId = row.Name, row.Id
			out = append(out, ep)
		}
	}
	return out
}

// RemoveNetwork deletes a local network that no container refers to. Nobody begins to meanwhile.
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) (string, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	n, err := e.cfg.Networks.Get(ref)
	if err != nil {
		return "", err
	}
	for _, c := range e.withMaking() {
		row := c.get()
		for _, a := range row.Networks {
			if m, err := e.cfg.Networks.Get(a.Network); err == nil && m.Id == n.Id {
				return "", errorf(ErrPrecondition, "network %s is used by container %s: remove that first", n.Name, row.Name)
			}
		}
	}
	if err := e.cfg.Networks.Remove(ctx, n.Id); err != nil {
		return n.Id, err
	}
	e.announce(aboutNetwork, "destroy", n.Id, map[string]string{"name": n.Name, "type": n.Driver})
	return n.Id, nil
}
