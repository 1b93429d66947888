//go:build linux

package engine

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/resolver"
	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/proto/api"
)

// prepareDNS lets a container ask before it runs. On the default bridge nobody has a name.
func (e *Engine) prepareDNS(_ context.Context, c *container) error {
	row := c.get()
	if !asksOurs(row) {
		return nil
	}
	return e.resolver.Open(resolver.Asker{
		Container: c.id, NetNS: row.Netns, Names: askerNames{e, c},
		Outside: func() []nameserver.Resolver { return outsideResolvers(c.get()) },
	})
}

// repairDNS opens what is not open. A container that ends meanwhile has let go of its endpoints before its server is
// closed, so that either of the two closes it.
func (e *Engine) repairDNS(ctx context.Context, c *container) error {
	err := e.prepareDNS(ctx, c)
	if !asksOurs(c.get()) {
		e.resolver.Close(c.id)
	}
	return err
}

// asksOurs says whether a container asks our server: for the names of others, or because the host's resolvers are on its
// loopback (systemd-resolved, dnsmasq), where no other namespace reaches them.
func asksOurs(row *api.Container) bool {
	if hasNames(row) || len(row.Endpoints) == 0 || len(row.Spec.GetDns().GetNameservers()) > 0 {
		return hasNames(row)
	}
	return len(hostResolver(true).nameservers) == 0 && len(hostResolver(false).nameservers) > 0
}

// hasNames says whether a container is on a network where containers have names.
func hasNames(row *api.Container) bool {
	return slices.ContainsFunc(row.Endpoints, network.HasNames)
}

// outsideResolvers are the container's own, asked from where it is, or the host's. A container without a way out has none:
// names would be one.
func outsideResolvers(row *api.Container) []nameserver.Resolver {
	if !slices.ContainsFunc(row.Endpoints, func(ep *api.NetworkEndpoint) bool { return len(ep.Gateways) > 0 }) {
		return nil
	}
	own := []nameserver.Resolver{}
	for _, ns := range row.Spec.GetDns().GetNameservers() {
		own = append(own, nameserver.Resolver{Addr: net.JoinHostPort(ns, "53"), NetNS: row.Netns})
	}
	if len(own) > 0 {
		return own
	}
	return append(own, nameserver.HostResolvers(hostResolvConf[0])...)
}

// askerNames is what one container may know: who is on its networks, by the rows as they are now.
type askerNames struct {
	e *Engine
	c *container
}

// Lookup looks on the asker's networks in their order; the first that knows the name counts.
func (a askerNames) Lookup(name string) ([]netip.Addr, bool) {
	for _, mine := range a.c.get().Endpoints {
		if !network.HasNames(mine) {
			continue
		}
		var found []netip.Addr
		linked := a.e.aliasOnly(a.c.get(), mine, name)
		a.e.onNetwork(mine.NetworkId, func(row *api.Container, ep *api.NetworkEndpoint) {
			if linked == "" && isNameOf(name, row, ep) || linked != "" && (row.Id == linked || isNameOf(linked, row, ep)) {
				found = append(found, publicAddrs(ep)...)
			}
		})
		if len(found) > 0 {
			return found, true
		}
	}
	return nil, false
}

// Reverse answers NAME.NETWORK, as Docker does.
func (a askerNames) Reverse(addr netip.Addr) (name string, ok bool) {
	for _, mine := range a.c.get().Endpoints {
		if !network.HasNames(mine) {
			continue
		}
		a.e.onNetwork(mine.NetworkId, func(row *api.Container, ep *api.NetworkEndpoint) {
			if slices.Contains(publicAddrs(ep), addr) {
				name, ok = row.Name+"."+ep.Network, true
			}
		})
	}
	return name, ok
}

// onNetwork visits the endpoints on a network.
func (e *Engine) onNetwork(networkID string, visit func(*api.Container, *api.NetworkEndpoint)) {
	for _, c := range e.all() {
		row := c.get()
		for _, ep := range row.Endpoints {
			if ep.NetworkId == networkID {
				visit(row, ep)
			}
		}
	}
}

// isNameOf: a container's name, aliases, short ID and hostname, each also with the network's name behind it.
func isNameOf(name string, row *api.Container, ep *api.NetworkEndpoint) bool {
	name = strings.TrimSuffix(name, "."+strings.ToLower(ep.Network))
	is := func(s string) bool { return s != "" && strings.EqualFold(s, name) }
	return is(row.Name) || is(row.Id[:12]) || is(row.Hostname) || slices.ContainsFunc(ep.Aliases, is)
}

// publicAddrs are an endpoint's addresses without those that mean something on its own link only.
func publicAddrs(ep *api.NetworkEndpoint) []netip.Addr {
	var out []netip.Addr
	for _, text := range ep.Addresses {
		if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Addr())
		}
	}
	return out
}
