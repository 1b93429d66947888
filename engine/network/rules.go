//go:build linux

package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// tableName of everything that local networks need of nftables.
const tableName = "shoal_local"

// ruleset is the whole table as a value: what is compared, printed and put into the kernel.
type ruleset struct {
	table  string
	maps   []portMap
	chains []chain
}

// chain hooks into the kernel's path of a packet.
type chain struct {
	name, kind, hook string
	priority         int
	rules            []rule
}

// portMap leads from a protocol and port (and address) to a container's address and port.
type portMap struct {
	name     string
	v6       bool
	withAddr bool
	elements []element
}

type element struct {
	addr     netip.Addr // of the host, if the map has it
	protocol string
	port     uint16
	to       netip.AddrPort
}

// rule is a sequence of terms, all of which must match, the last one a verdict.
type rule []term

// hooks are the rules of each of our chains.
type hooks struct{ guard, stray, publish, publishLocal, forward, leave []rule }

// buildRules computes the table from bridges that have somebody on them, and all attachments.
func buildRules(networks []*api.LocalNetwork, attached []Attachment) *ruleset {
	maps := portMaps(networks, attached)
	h := &hooks{forward: []rule{{ctEstablished(), verdict("accept")}, {ctDNAT(), verdict("accept")}}}
	for _, m := range maps {
		h.addPorts(m)
	}
	for _, n := range networks {
		h.addBridge(n)
	}
	return &ruleset{table: tableName, maps: maps, chains: []chain{
		{name: "guard", kind: "filter", hook: "prerouting", priority: -300, rules: h.guard},
		{name: "stray", kind: "filter", hook: "prerouting", priority: -150, rules: h.stray},
		{name: "publish", kind: "nat", hook: "prerouting", priority: -100, rules: h.publish},
		{name: "publish_local", kind: "nat", hook: "output", priority: -100, rules: h.publishLocal},
		{name: "forward", kind: "filter", hook: "forward", priority: 0, rules: h.forward},
		{name: "leave", kind: "nat", hook: "postrouting", priority: 100, rules: h.leave},
	}}
}

// addPorts leads what comes to a published port to its container.
func (h *hooks) addPorts(m portMap) {
	h.publish = append(h.publish, rule{fibLocal(), dnatTo(m)})
	if m.v6 {
		// IPv6 has no way out of the loopback: there the held socket is a proxy.
		h.publishLocal = append(h.publishLocal, rule{fibLocal(), notLoopback6(), dnatTo(m)})
	} else {
		h.publishLocal = append(h.publishLocal, rule{fibLocal(), dnatTo(m)})
	}
}

// addBridge closes a network's bridge to all but its own containers, answers and published ports, and masks what leaves it.
func (h *hooks) addBridge(n *api.LocalNetwork) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	h.guard = append(h.guard, rule{iif(n.Bridge), daddr(loopback), verdict("drop")})
	// What is no part of its connection, as it was repeated too late for example, is not translated back: a client would hear
	// from an address that it never called, and end the connection by a reset.
	h.stray = append(h.stray, rule{iif(n.Bridge), ctInvalid(), verdict("drop")})
	// Nothing comes in but answers and published ports; so bridges are closed to one another as well.
	h.forward = append(h.forward, rule{oif(n.Bridge), notIif(n.Bridge), verdict("drop")})
	o := optionsOf(n)
	if n.Internal {
		h.forward = append(h.forward, rule{iif(n.Bridge), notOif(n.Bridge), verdict("drop")})
	}
	if o.apart { // the bridge keeps its ports apart itself, this is for packets that go through the host
		h.forward = append(h.forward, rule{iif(n.Bridge), oif(n.Bridge), verdict("drop")})
	}
	for _, p := range prefixes(n) {
		if !n.Internal && o.masquerade {
			h.leave = append(h.leave, rule{saddr(p), notOif(n.Bridge), verdict("masquerade")})
		}
		// A container that calls a published port of its own network must hear the answer from where it called.
		h.leave = append(h.leave, rule{saddr(p), oif(n.Bridge), ctDNAT(), verdict("masquerade")})
	}
	h.leave = append(h.leave, rule{saddr(loopback), oif(n.Bridge), verdict("masquerade")})
}

// portMaps are always the same four, so that a port more or less is an element more or less.
func portMaps(networks []*api.LocalNetwork, attached []Attachment) []portMap {
	maps := []portMap{
		{name: "at4", withAddr: true}, {name: "any4"},
		{name: "at6", withAddr: true, v6: true}, {name: "any6", v6: true},
	}
	for _, a := range attached {
		to := target(networks, a.Endpoints)
		for i := range maps {
			maps[i].addAll(a.Ports, to)
		}
	}
	for _, m := range maps {
		slices.SortFunc(m.elements, func(a, b element) int {
			return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol), a.addr.Compare(b.addr))
		})
	}
	return maps
}

// addAll takes those of a container's ports that belong into the map.
func (m *portMap) addAll(ports []*api.PortBinding, to []netip.Addr) {
	for _, p := range ports {
		host, _ := netip.ParseAddr(p.HostIp) // invalid: any
		if e, ok := m.elementFor(p, host, to); ok {
			m.elements = append(m.elements, e)
		}
	}
}

// elementFor tells whether a published port belongs into a map. 0.0.0.0 and :: are any address of their family.
func (m *portMap) elementFor(p *api.PortBinding, host netip.Addr, to []netip.Addr) (element, bool) {
	if p.HostPort == 0 {
		return element{}, false
	}
	any := !host.IsValid() || host.IsUnspecified()
	if any == m.withAddr || host.IsValid() && host.Is6() != m.v6 {
		return element{}, false
	}
	for _, t := range to {
		if t.Is6() == m.v6 {
			e := element{protocol: p.Protocol, port: uint16(p.HostPort), to: netip.AddrPortFrom(t, uint16(p.ContainerPort))}
			if m.withAddr {
				e.addr = host
			}
			return e, true
		}
	}
	return element{}, false
}

// String writes the table in nft's own language.
func (rs *ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", rs.table)
	for _, m := range rs.maps {
		b.WriteString(m.text())
	}
	for _, c := range rs.chains {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy accept;\n", c.name, c.kind, c.hook, c.priority)
		for _, r := range c.rules {
			var terms []string
			for _, t := range r {
				terms = append(terms, t.text)
			}
			fmt.Fprintf(&b, "\t\t%s\n", strings.Join(terms, " "))
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func (m *portMap) text() string {
	family, key := "ipv4_addr", ""
	if m.v6 {
		family = "ipv6_addr"
	}
	if m.withAddr {
		key = family + " . "
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\tmap %s {\n\t\ttype %sinet_proto . inet_service : %s . inet_service\n", m.name, key, family)
	if len(m.elements) > 0 {
		var elements []string
		for _, e := range m.elements {
			elements = append(elements, e.text())
		}
		fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(elements, ",\n\t\t\t     "))
	}
	b.WriteString("\t}\n")
	return b.String()
}

func (e element) text() string {
	key := ""
	if e.addr.IsValid() {
		key = e.addr.String() + " . "
	}
	return fmt.Sprintf("%s%s . %d : %s . %d", key, e.protocol, e.port, e.to.Addr(), e.to.Port())
}
