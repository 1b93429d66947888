package allocator

import (
	"fmt"
	"log/slog"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// What a cluster uses whose spec names nothing else.
const (
	defaultPool     = "10.96.0.0/12"
	defaultSize     = 22
	defaultNodePool = "10.112.0.0/12"
	nodeSize        = 22
	size6           = 64
	defaultVNI      = 4096
	lastVNI         = 1<<24 - 1
)

// pass looks at all rows once and gives every one what it lacks.
type pass struct {
	tx    *store.Tx
	log   *slog.Logger
	write bool // false: a dry run, which only finds out whether there is something to write
	wrote bool

	pools, nodePools []netip.Prefix
	size             int
	ula              netip.Prefix // invalid: the cluster has none
	vniBase, lastVNI uint32

	networks []*api.Network // as this pass leaves them
	nodes    []*api.Node
	services []*api.Service
	hosts    map[string][]ipam.Subnet

	published map[portKey][]holder // nil: not looked at yet
}

func newPass(tx *store.Tx, log *slog.Logger) *pass {
	return &pass{tx: tx, log: log, networks: tx.Networks().List(), nodes: tx.Nodes().List(),
		services: tx.Services().List(), hosts: map[string][]ipam.Subnet{}}
}

func (p *pass) run() error {
	c := p.tx.Cluster()
	if c == nil {
		return nil // nothing can be allocated before init
	}
	if err := p.configure(c); err != nil {
		p.log.Error("address pools of the cluster cannot be used", "error", err)
		return nil
	}
	for _, step := range []func() error{p.allocateNodes, p.allocateNetworks, p.allocateServices} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// configure reads the pools from the cluster's spec.
func (p *pass) configure(c *api.Cluster) (err error) {
	spec := c.GetSpec()
	pools := spec.GetAddressPools()
	if len(pools) == 0 {
		pools = []string{defaultPool}
	}
	if p.pools, err = ipam.ParsePools(pools); err != nil {
		return err
	}
	nodePool := spec.GetNodePool()
	if nodePool == "" {
		nodePool = defaultNodePool
	}
	if p.nodePools, err = ipam.ParsePools([]string{nodePool}); err != nil {
		return err
	}
	if p.size = int(spec.GetSubnetSize()); p.size == 0 {
		p.size = defaultSize
	}
	if p.vniBase = c.VniBase; p.vniBase == 0 {
		p.vniBase = defaultVNI
	}
	p.lastVNI = c.LastVni
	if c.UlaPrefix != "" {
		if p.ula, err = netip.ParsePrefix(c.UlaPrefix); err != nil {
			return fmt.Errorf("ula_prefix of the cluster: %w", err)
		}
	}
	return nil
}

// half returns the lower (networks) or upper (nodes) half of the cluster's own IPv6 prefix.
func (p *pass) half(upper bool) []netip.Prefix {
	if !p.ula.IsValid() {
		return nil
	}
	bits := p.ula.Bits() + 1
	lower := netip.PrefixFrom(p.ula.Masked().Addr(), bits)
	if !upper {
		return []netip.Prefix{lower}
	}
	return []netip.Prefix{netip.PrefixFrom(ipam.Last(lower).Next(), bits)}
}

// localSubnets are the routes that nodes have besides ours: what they reach there must stay reachable.
func (p *pass) localSubnets() (out []netip.Prefix, owner map[netip.Prefix]string) {
	owner = map[netip.Prefix]string{}
	for _, n := range p.nodes {
		for _, s := range n.GetDescription().GetLocalSubnets() {
			if r, err := netip.ParsePrefix(s); err == nil {
				out = append(out, r.Masked())
				owner[r.Masked()] = n.GetDescription().GetHostname()
			}
		}
	}
	return out, owner
}

// networkSubnets are all networks' prefixes.
func (p *pass) networkSubnets() (out []netip.Prefix) {
	for _, n := range p.networks {
		for _, c := range n.Ipam {
			if r, err := netip.ParsePrefix(c.Subnet); err == nil {
				out = append(out, r)
			}
		}
	}
	return out
}

// gatewaySubnets are all nodes' prefixes.
func (p *pass) gatewaySubnets() (out []netip.Prefix) {
	for _, n := range p.nodes {
		for _, s := range n.GatewaySubnets {
			if r, err := netip.ParsePrefix(s); err == nil {
				out = append(out, r)
			}
		}
	}
	return out
}

// save writes a changed row; now and rows[i] differ if there is anything to write.
func save[T interface {
	proto.Message
	GetId() string
	GetMeta() *api.Meta
}](p *pass, table store.Table[T], rows []T, i int, now T) error {
	if proto.Equal(rows[i], now) {
		return nil
	}
	p.wrote = true
	if p.write {
		if err := table.Update(now); err != nil {
			return err
		}
	}
	rows[i] = now
	return nil
}
