// Package dns answers containers' questions: service names, tasks.NAME, container names and
// aliases from the network view, everything else through the host's own resolvers.
//
// A Server listens inside each overlay network's sandbox and on the gateway bridge. Who asks is known by
// the source address, and an asker sees the names of the networks it is on and no others. How a question
// is answered and passed on is package nameserver's.
package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/overlay"
)

// zone is an index over one Desired value; it is built once and only read.
type zone struct {
	names    map[string]map[string][]netip.Addr // network ID -> lower-case name -> addresses
	idle     map[owned]bool                     // names of services that have no ready task on the network
	networks map[string][]string                // task ID -> network IDs it is on
	tasks    map[owner]string                   // who has an address
	reverse  map[owner]string                   // address -> container name
}

// owner is an address on a network; networks may reuse each other's subnets.
type owner struct {
	network string
	addr    netip.Addr
}

// owned is a lower-case name on a network.
type owned struct{ network, name string }

// newZone indexes d. Endpoints on nodes that are down leave the balanced names, unless none would remain.
func newZone(d overlay.Desired, down map[string]bool) *zone {
	z := &zone{
		names: map[string]map[string][]netip.Addr{}, networks: map[string][]string{},
		tasks: map[owner]string{}, reverse: map[owner]string{}, idle: map[owned]bool{},
	}
	for _, n := range d.Networks {
		z.names[n.ID] = map[string][]netip.Addr{}
	}
	for _, e := range d.Endpoints {
		z.addEndpoint(e)
	}
	byService := map[string][]overlay.Endpoint{}
	for _, e := range d.Endpoints {
		byService[e.ServiceID] = append(byService[e.ServiceID], e)
	}
	// All services' own names before any alias: the order of the rows says nothing.
	var all []*called
	for _, s := range d.Services {
		all = append(all, z.addService(s, byService[s.ID], down)...)
	}
	for _, c := range all {
		z.addAliases(c)
	}
	return z
}

func (z *zone) addEndpoint(e overlay.Endpoint) {
	if e.NetworkID == "" {
		return // gateway addresses have no names
	}
	z.networks[e.TaskID] = append(z.networks[e.TaskID], e.NetworkID)
	for _, a := range e.Addrs {
		o := owner{e.NetworkID, a}
		z.tasks[o], z.reverse[o] = e.TaskID, e.Name
	}
	z.add(e.NetworkID, e.Name, e.Addrs)
}

// called is what a service's names mean on one network.
type called struct {
	network string
	aliases []string
	addrs   []netip.Addr
	idle    bool // no ready task is there
}

// addService gives a service's own names their addresses on every network: the virtual ones, or with DNSRR those of
// the ready tasks, which tasks.NAME always has. What its aliases are to mean is returned.
func (z *zone) addService(s overlay.Service, tasks []overlay.Endpoint, down map[string]bool) (out []*called) {
	ready, on, aliases := map[string][]overlay.Endpoint{}, map[string]bool{}, map[string][]string{}
	for _, e := range tasks {
		on[e.NetworkID] = true
		if e.Ready {
			ready[e.NetworkID] = append(ready[e.NetworkID], e)
			aliases[e.NetworkID] = append(aliases[e.NetworkID], e.Aliases...)
		}
	}
	for network := range z.names {
		var each []netip.Addr
		for _, e := range answering(ready[network], down) {
			each = append(each, e.Addrs...)
		}
		addrs, virtual := s.VIPs[network]
		if !virtual && !on[network] {
			continue // not on this network: the name is not ours to answer
		}
		if s.DNSRR || !virtual {
			addrs = each
		}
		z.idle[owned{network, strings.ToLower(s.Name)}] = len(each) == 0
		z.set(network, s.Name, addrs)
		z.set(network, "tasks."+s.Name, each)
		// An update takes an alias from the service at once, and from its tasks one by one.
		names := append(slices.Clone(s.Aliases[network]), aliases[network]...)
		slices.Sort(names)
		out = append(out, &called{network, slices.Compact(names), addrs, len(each) == 0})
	}
	return out
}

// addAliases makes other names mean what a service's own does, however many of its tasks say so. A name that others have, too,
// means all of them.
func (z *zone) addAliases(c *called) {
	for _, alias := range c.aliases {
		o := owned{c.network, strings.ToLower(alias)}
		_, known := z.names[o.network][o.name]
		z.idle[o] = c.idle && (!known || z.idle[o])
		z.add(c.network, alias, c.addrs)
	}
}

// answering leaves out the endpoints of nodes that are down; suspicion fails open.
func answering(all []overlay.Endpoint, down map[string]bool) []overlay.Endpoint {
	var up []overlay.Endpoint
	for _, e := range all {
		if !down[e.NodeID] {
			up = append(up, e)
		}
	}
	if len(up) == 0 {
		return all
	}
	return up
}

func (z *zone) add(network, name string, addrs []netip.Addr) {
	m := z.names[network]
	if m == nil || name == "" {
		return
	}
	name = strings.ToLower(name)
	have := slices.Clip(m[name]) // others may have the same slice
	if len(have) == 0 {
		m[name] = addrs
		return
	}
	for _, a := range addrs {
		if !slices.Contains(have, a) {
			have = append(have, a)
		}
	}
	m[name] = have
}

func (z *zone) set(network, name string, addrs []netip.Addr) {
	z.names[network][strings.ToLower(name)] = addrs
}

// asker is who asks: what it may know, for package nameserver.
type asker struct {
	zone    *zone
	network string
	from    netip.Addr
}

func (a asker) Lookup(name string) ([]netip.Addr, bool) {
	return a.zone.lookup(a.network, a.from, name)
}
func (a asker) Reverse(addr netip.Addr) (string, bool) { return a.zone.name(a.network, a.from, addr) }

// lookup finds name for whoever asks from addr on network: on that network first, then on the asker's others. A service that an
// update takes from one network to another is named by where it answers.
func (z *zone) lookup(network string, from netip.Addr, name string) (addrs []netip.Addr, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, n := range append([]string{network}, z.networks[z.tasks[owner{network, from}]]...) {
		found, here := z.names[n][name]
		if here && !z.idle[owned{n, name}] {
			return found, true
		}
		if here && !ok {
			addrs, ok = found, true
		}
	}
	return addrs, ok
}

// name is the container that has addr on one of the asker's networks.
func (z *zone) name(network string, from, addr netip.Addr) (string, bool) {
	for _, n := range append([]string{network}, z.networks[z.tasks[owner{network, from}]]...) {
		if s, ok := z.reverse[owner{n, addr}]; ok {
			return s, true
		}
	}
	return "", false
}
