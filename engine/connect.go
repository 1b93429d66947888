//go:build linux

package engine

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// Connect puts a container on one more network; one that runs is there when Connect returns.
func (e *Engine) Connect(ctx context.Context, ref string, w *api.LocalNetworkAttachment) error {
	c, err := e.lockForNetworks(ctx, ref)
	if err != nil {
		return err
	}
	defer c.unlock()
	before := c.get()
	n, err := e.addNetwork(c, proto.CloneOf(w))
	if err != nil {
		return err
	}
	e.cfg.FaultPoint("connect.row")
	if err := e.followNetworks(ctx, c); err != nil {
		undo := e.setNetworks(c, before.Networks, before.Endpoints)
		return errors.Join(err, undo, e.followNetworks(ctx, c))
	}
	e.announceNetwork(before, n, "connect")
	return nil
}

// Disconnect takes a container off a network. With force it is no error if it is not there.
func (e *Engine) Disconnect(ctx context.Context, ref, networkRef string, force bool) error {
	c, err := e.lockForNetworks(ctx, ref)
	if err != nil {
		return err
	}
	defer c.unlock()
	n, err := e.cfg.Networks.Get(networkRef)
	if err != nil {
		return err
	}
	before := c.get()
	i := slices.IndexFunc(before.Networks, func(w *api.LocalNetworkAttachment) bool { return e.means(w.Network, n) })
	switch {
	case i < 0 && force:
		return nil
	case i < 0:
		return errorf(ErrPrecondition, "container %s is not connected to network %s", before.Name, n.Name)
	}
	elsewhere := func(ep *api.NetworkEndpoint) bool { return ep.NetworkId == n.Id }
	err = e.setNetworks(c, slices.Delete(slices.Clone(before.Networks), i, i+1), slices.DeleteFunc(slices.Clone(before.Endpoints), elsewhere))
	if err != nil {
		return err
	}
	e.cfg.FaultPoint("disconnect.row")
	e.announceNetwork(before, n, "disconnect")
	return e.followNetworks(ctx, c)
}

// lockForNetworks finds a container whose networks may change, and keeps others from changing it.
func (e *Engine) lockForNetworks(ctx context.Context, ref string) (*container, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	row := c.get()
	switch {
	case c.isRemoved() || row.State == api.ContainerState_DEAD:
		err = errorf(ErrPrecondition, "container %s is being removed", row.Name)
	case row.NetworkMode == NetworkExternal:
		err = errorf(ErrPrecondition, "container %s belongs to a service: change the service's networks", row.Name)
	case !ownNetNS(row.NetworkMode) || row.NetworkMode == NetworkNone:
		err = errorf(ErrPrecondition, "container %s was made with --network %s and has no networks: make it anew", row.Name, row.NetworkMode)
	}
	if err != nil {
		c.unlock()
		return nil, err
	}
	return c, nil
}

// means says whether a reference in a row is to a network.
func (e *Engine) means(ref string, n *api.LocalNetwork) bool {
	m, err := e.cfg.Networks.Get(ref)
	return err == nil && m.Id == n.Id
}

// addNetwork writes down that a container is on a network, with an address if it runs.
func (e *Engine) addNetwork(c *container, w *api.LocalNetworkAttachment) (*api.LocalNetwork, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	row := c.get()
	n, err := e.cfg.Networks.Get(w.GetNetwork())
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(row.Networks, func(have *api.LocalNetworkAttachment) bool { return e.means(have.Network, n) }) {
		return nil, errorf(ErrExists, "container %s is on network %s already", row.Name, n.Name)
	}
	if n.Name == NetworkBridge && len(w.Links) > 0 {
		return nil, errorf(ErrInvalid, "links on the default bridge are made with the container: make %s anew with them, or use a network of your own", row.Name)
	}
	if err := e.settleLinks([]*api.LocalNetworkAttachment{w}); err != nil {
		return nil, err
	}
	w.Network = n.Name
	networks := append(slices.Clone(row.Networks), w)
	if err := e.cfg.Networks.Check(networks, nil); err != nil {
		return nil, err
	}
	endpoints := row.Endpoints
	if active(row.State) {
		more, err := e.cfg.Networks.Allocate(e.endpoints(), []*api.LocalNetworkAttachment{w})
		if err != nil {
			return nil, err
		}
		endpoints = append(slices.Clone(endpoints), more...)
	}
	return n, e.setNetworks(c, networks, endpoints)
}

// setNetworks writes the newest row first: it counts, the row as created only if that one is lost.
func (e *Engine) setNetworks(c *container, networks []*api.LocalNetworkAttachment, endpoints []*api.NetworkEndpoint) error {
	err := c.update(func(row *api.Container) { row.Networks, row.Endpoints = networks, endpoints })
	if err != nil {
		return err
	}
	e.cfg.FaultPoint("networks.row")
	return e.amend(c, func(row *api.Container) { row.Networks = networks })
}

// followNetworks makes a running container's interfaces, names and files those of its row.
func (e *Engine) followNetworks(ctx context.Context, c *container) error {
	row := c.get()
	if !active(row.State) {
		return nil
	}
	if err := e.cfg.Networks.Attach(ctx, attachment(row)); err != nil {
		return err
	}
	e.cfg.FaultPoint("networks.links")
	if err := e.repairDNS(ctx, c); err != nil {
		return err
	}
	e.cfg.FaultPoint("networks.names")
	e.refreshLinks(c.id)
	return e.refreshEtc(c)
}
