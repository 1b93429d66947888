//go:build linux

package network

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// ResolverAddr is where containers on networks of their own ask for names: Docker's address, which programs know by heart.
var ResolverAddr = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// redirectTable lives in the container's namespace.
const redirectTable = "shoal_dns"

// RedirectDNS leads what a container sends to port 53 of ResolverAddr to the ports where somebody listens. So port 53
// stays free for a container that is a DNS server itself.
func RedirectDNS(netNS string, udp, tcp uint16) error {
	err := at(netNS, func(_ *netlink.Handle, ns netns.NsHandle) error {
		rules := redirectRules(udp, tcp)
		if createTable(ns, redirectTable, rules) == nil { // a new namespace; deleting first would cost milliseconds
			return nil
		}
		return replaceTable(ns, redirectTable, rules)
	})
	if err != nil {
		return fmt.Errorf("lead DNS to its server: %w", err)
	}
	return nil
}

// redirectRules change ports there and back without tracking connections: a container that has no other use for
// tracking does not pay for it with every packet.
func redirectRules(udp, tcp uint16) *ruleset {
	const dns = 53
	server := netip.PrefixFrom(ResolverAddr, 32)
	var rules []rule
	for _, p := range []struct {
		protocol string
		port     uint16
	}{{"udp", udp}, {"tcp", tcp}} {
		rules = append(rules,
			rule{daddr(server), portIs(p.protocol, "dport", dportOffset, dns), setPort(p.protocol, "dport", dportOffset, p.port)},
			rule{saddr(server), portIs(p.protocol, "sport", sportOffset, p.port), setPort(p.protocol, "sport", sportOffset, dns)})
	}
	return &ruleset{table: redirectTable, chains: []chain{{name: "ask", kind: "filter", hook: "output", rules: rules}}}
}
