// Package dns answers containers' questions: service names, tasks.NAME, container names and
// aliases from the network view, everything else through the host's own resolvers.
//
// A Server listens inside each overlay network's sandbox and on the gateway bridge. Who asks is known by
// the source address, and an asker sees the names of the networks it is on and no others. How a question
// is answered and passed on is package nameserver's.
package dns

import (
	"net/netip"
	"strings"

	"github.com/shoal-dev/shoal/overlay"
)

// zone is an index over one Desired value; it is built once and only read.
type zone struct {
	names    map[string]map[string][]netip.Addr // network ID -> lower-case name -> addresses
	networks map[string][]string                // task ID -> network IDs it is on
	tasks    map[owner]string                   // who has an address
	reverse  map[owner]string                   // address -> container name
}

// owner is an address on a network; networks may reuse each other's subnets.
type owner struct {
	network string
	addr    netip.Addr
}

// newZone indexes d. Endpoints on nodes that are down leave the balanced names, unless none would remain.
func newZone(d overlay.Desired, down map[string]bool) *zone {
	z := &zone{
		names: map[string]map[string][]netip.Addr{}, networks: map[string][]string{},
		tasks: map[owner]string{}, reverse: map[owner]string{},
	}
	for _, n := range d.Networks {
		z.names[n.ID] = map[string][]netip.Addr{}
	}
	for _, e := range d.Endpoints {
		z.addEndpoint(e)
	}
	for _, s := range d.Services {
		z.addService(s, d.Endpoints, down)
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
	if e.Ready {
		for _, alias := range e.Aliases {
			z.add(e.NetworkID, alias, e.Addrs)
		}
	}
}

// addService gives a service's names their addresses on every network: the virtual ones, or with DNSRR those of
// the ready tasks, which tasks.NAME always has.
func (z *zone) addService(s overlay.Service, all []overlay.Endpoint, down map[string]bool) {
	byNetwork, on := map[string][]overlay.Endpoint{}, map[string]bool{}
	for _, e := range all {
		if e.ServiceID != s.ID || e.NetworkID == "" {
			continue
		}
		on[e.NetworkID] = true
		if e.Ready {
			byNetwork[e.NetworkID] = append(byNetwork[e.NetworkID], e)
		}
	}
	for network := range z.names {
		var tasks []netip.Addr
		for _, e := range answering(byNetwork[network], down) {
			tasks = append(tasks, e.Addrs...)
		}
		addrs := s.VIPs[network]
		if s.DNSRR {
			addrs = tasks
		}
		if _, virtual := s.VIPs[network]; !virtual && !on[network] {
			continue // not on this network: the name is not ours to answer
		}
		z.set(network, s.Name, addrs)
		z.set(network, "tasks."+s.Name, tasks)
		for _, alias := range s.Aliases[network] {
			z.add(network, alias, addrs)
		}
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
	if m := z.names[network]; m != nil && name != "" {
		m[strings.ToLower(name)] = append(m[strings.ToLower(name)], addrs...)
	}
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

// lookup finds name for whoever asks from addr on network: on that network first, then on the asker's others.
func (z *zone) lookup(network string, from netip.Addr, name string) ([]netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, n := range append([]string{network}, z.networks[z.tasks[owner{network, from}]]...) {
		if addrs, ok := z.names[n][name]; ok {
			return addrs, true
		}
	}
	return nil, false
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
