//go:build linux

package engine

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/proto/api"
)

func joinsContainer(mode string) bool { return strings.HasPrefix(mode, "container:") }

// checkNetwork settles a container's network mode and networks.
func (e *Engine) checkNetwork(req *api.CreateContainerRequest, row *api.Container) error {
	mode := req.NetworkMode
	if mode == "default" {
		mode = NetworkBridge
	}
	switch {
	case mode == "" && len(req.Networks) == 0:
		mode = NetworkBridge
	case mode == "" && len(req.Networks) == 1 && (req.Networks[0].Network == NetworkHost || req.Networks[0].Network == NetworkNone):
		mode, req.Networks = req.Networks[0].Network, nil
	case mode == "", mode == NetworkBridge, mode == NetworkHost, mode == NetworkNone, mode == NetworkExternal:
	case joinsContainer(mode):
		other, err := e.find(strings.TrimPrefix(mode, "container:"))
		if err != nil {
			return err
		}
		mode = "container:" + other.id
	default: // the name of a network
		if len(req.Networks) > 0 {
			return errorf(ErrInvalid, "give networks either as network mode or as list, not both")
		}
		req.Networks, mode = []*api.LocalNetworkAttachment{{Network: mode}}, ""
	}
	if mode == NetworkBridge && len(req.Networks) == 0 {
		req.Networks = []*api.LocalNetworkAttachment{{Network: NetworkBridge}}
	}
	alone := mode == NetworkHost || mode == NetworkNone || mode == NetworkExternal || joinsContainer(mode)
	if alone && len(req.Networks) > 0 {
		return errorf(ErrInvalid, "--network %s cannot be combined with networks", mode)
	}
	if dns := req.Spec.GetDns(); joinsContainer(mode) && (len(req.Spec.GetHosts()) > 0 || len(dns.GetNameservers())+len(dns.GetSearch())+len(dns.GetOptions()) > 0) {
		return errorf(ErrInvalid, "--network %s: names are looked up as in that container, its own servers and hosts cannot be given", mode)
	}
	if len(req.Spec.GetExposedPorts()) > 0 && joinsContainer(mode) {
		return errorf(ErrInvalid, "--network %s cannot expose ports: they are that container's", mode)
	}
	if alone && (len(req.Ports) > 0 || req.PublishAll) && mode != NetworkHost {
		return errorf(ErrInvalid, "--network %s cannot publish ports", mode)
	}
	if mode == NetworkHost && len(req.Ports) > 0 {
		return errorf(ErrInvalid, "--network host cannot publish ports: the container's ports are the host's already")
	}
	if err := e.cfg.Networks.Check(req.Networks, req.Ports); err != nil {
		return err
	}
	if err := e.settleLinks(req.Networks); err != nil {
		return err
	}
	if mode == "" {
		mode = req.Networks[0].Network
	}
	row.NetworkMode, row.Networks, row.Ports = mode, req.Networks, req.Ports
	return nil
}

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
		for _, c := range e.all() {
			row := c.get()
			for _, ep := range row.Endpoints {
				if ep.NetworkId == n.Id {
					ep = proto.CloneOf(ep)
					ep.Network, ep.NetworkId = row.Name, row.Id
					n.Endpoints = append(n.Endpoints, ep)
				}
			}
		}
		out = append(out, n)
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
