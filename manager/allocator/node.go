package allocator

import (
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/proto/api"
)

// allocateNodes gives every node its number and its slice of the node pool.
func (p *pass) allocateNodes() error {
	for i, n := range p.nodes {
		if n.Number != 0 && len(n.GatewaySubnets) > 0 {
			continue
		}
		now := proto.CloneOf(n)
		if now.Number == 0 {
			now.Number = p.freeNumber()
		}
		if len(now.GatewaySubnets) == 0 {
			now.GatewaySubnets = p.freeGateways(now)
		}
		if err := save(p, p.tx.Nodes(), p.nodes, i, now); err != nil {
			return err
		}
	}
	return nil
}

// freeNumber is the lowest that no node has.
func (p *pass) freeNumber() uint32 {
	used := map[uint32]bool{}
	for _, n := range p.nodes {
		used[n.Number] = true
	}
	number := uint32(1)
	for used[number] {
		number++
	}
	return number
}

// freeGateways returns one prefix per family, nil if the IPv4 pool is exhausted.
func (p *pass) freeGateways(n *api.Node) []string {
	used := slices.Concat(p.gatewaySubnets(), p.networkSubnets())
	local, _ := p.localSubnets()
	for _, l := range local {
		// Our own route to all gateway subnets is no obstacle to them.
		if !slices.Contains(p.nodePools, l) {
			used = append(used, l)
		}
	}
	v4, ok := ipam.NextPrefix(p.nodePools, p.nodeBits(), used)
	if !ok {
		p.log.Error("no free gateway subnet for the node: its tasks cannot be placed; change the node pool of the cluster",
			"node", n.Id, "pool", p.nodePools[0])
		return nil
	}
	out := []string{v4.String()}
	if v6, ok := ipam.NextPrefix(p.half(true), size6, used); ok {
		out = append(out, v6.String())
	}
	return out
}

// nodeBits is the length of a gateway subnet: a /22, less in a pool that is too small for 16 of them.
func (p *pass) nodeBits() int {
	bits := netip.Prefix.Bits(p.nodePools[0]) + 4
	return min(max(nodeSize, bits), 28)
}
