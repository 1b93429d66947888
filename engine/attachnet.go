//go:build linux

package engine

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/proto/api"
)

// attachment is what the network manager needs of a row.
func attachment(row *api.Container) network.Attachment {
	return network.Attachment{
		Container: row.Id, Name: row.Name, NetNS: row.Netns, Endpoints: row.Endpoints, Ports: row.Ports,
	}
}

// endpoints are all that are in use: addresses are free exactly if no row has them.
func (e *Engine) endpoints() []*api.NetworkEndpoint {
	var out []*api.NetworkEndpoint
	for _, c := range e.all() {
		out = append(out, c.get().Endpoints...)
	}
	return out
}

// prepareNetwork chooses addresses and ports, writes them down and makes the interfaces.
func (e *Engine) prepareNetwork(ctx context.Context, c *container) error {
	row := c.get()
	if len(row.Networks) == 0 {
		return nil
	}
	if err := e.checkLinks(row); err != nil {
		return err
	}
	if err := e.allocate(ctx, c); err != nil {
		return err
	}
	return e.cfg.Networks.Attach(ctx, attachment(c.get()))
}

func (e *Engine) allocate(ctx context.Context, c *container) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	row := c.get()
	endpoints, err := e.cfg.Networks.Allocate(e.endpoints(), row.Networks)
	if err != nil {
		return err
	}
	ports, err := e.cfg.Networks.Reserve(ctx, c.id, endpoints, c.wantedPorts(row))
	if err != nil {
		return err
	}
	return c.update(func(row *api.Container) { row.Endpoints, row.Ports = endpoints, ports })
}

func (e *Engine) releaseNetwork(ctx context.Context, c *container) error {
	defer e.resolver.Close(c.id)
	// Addresses are free when no row has them, so nobody may choose one until the interfaces are gone, too; and the row
	// lets go first, else reconciling could attach the container again.
	e.netMu.Lock()
	defer e.netMu.Unlock()
	var err error
	if len(c.get().Endpoints) > 0 {
		err = c.update(func(row *api.Container) {
			row.Endpoints = nil
			row.Ports = nil
			for _, p := range c.req.GetPorts() {
				row.Ports = append(row.Ports, proto.CloneOf(p))
			}
		})
	}
	return errors.Join(err, e.cfg.Networks.Detach(ctx, c.id))
}

// reconcileNetworks makes the kernel's bridges, interfaces and rules those of the rows.
func (e *Engine) reconcileNetworks(ctx context.Context) error {
	errs := []error{e.cfg.Networks.Reconcile(ctx, e.attachments)}
	for _, c := range e.all() {
		if row := c.get(); len(row.Endpoints) > 0 && active(row.State) {
			errs = append(errs, e.repairDNS(ctx, c), e.refreshEtc(c))
		}
	}
	return errors.Join(errs...)
}

// attachments are those of all rows. A container that runs without any may have left its last network just before a crash.
func (e *Engine) attachments() []network.Attachment {
	var out []network.Attachment
	for _, c := range e.all() {
		row := c.get()
		left := active(row.State) && row.Netns != "" && row.NetworkMode != NetworkNone && row.NetworkMode != NetworkExternal
		if len(row.Endpoints) > 0 || left {
			out = append(out, attachment(row))
		}
	}
	return out
}
