package orchestrator

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// tryAgain is when to look again for an address: that another service gave one back is no event of ours.
const tryAgain = 2 * time.Second

// giveAddress takes tasks from NEW to PENDING by giving them their addresses, or says why they wait.
func (p *pass) giveAddress() {
	for _, t := range p.tasks {
		if !t.live() || t.state() != api.TaskState_NEW {
			continue
		}
		networks, err := p.attach(t)
		if err == nil {
			row := p.edit(t)
			row.Networks = networks
			row.Status = &api.TaskStatus{State: api.TaskState_PENDING, Timestamp: timestamppb.New(p.now), Message: "waiting for a node"}
			continue
		}
		p.comeBack(p.now.Add(tryAgain))
		if t.GetStatus().GetErr() != err.Error() {
			p.edit(t).Status = &api.TaskStatus{State: api.TaskState_NEW, Timestamp: timestamppb.New(p.now),
				Message: "waiting for addresses", Err: err.Error()}
		}
	}
}

func (p *pass) attach(t *task) ([]*api.NetworkAttachment, error) {
	if p.svc.AllocationError != "" && p.svc.Endpoint == nil {
		return nil, fmt.Errorf("%s", p.svc.AllocationError)
	}
	rev := p.revision(t.Revision)
	if rev == nil {
		return nil, fmt.Errorf("revision %d of the service is gone", t.Revision)
	}
	var out []*api.NetworkAttachment
	for _, want := range rev.GetSpec().GetNetworks() {
		if nodeLocal(want.Network) {
			continue
		}
		addrs, err := p.addresses.take(want.Network)
		if err != nil {
			return nil, err
		}
		out = append(out, &api.NetworkAttachment{NetworkId: want.Network, Addresses: addrs, Aliases: want.Aliases})
	}
	return out, nil
}

// nodeLocal networks are no networks of the cluster's: the agent knows what to do with them.
func nodeLocal(network string) bool { return network == "host" || network == "none" }

// addresses hands out what is free in networks, as the rows of one transaction say.
type addresses struct {
	tx      *store.Tx
	subnets map[string][]ipam.Subnet
}

func newAddresses(tx *store.Tx) *addresses {
	return &addresses{tx: tx, subnets: map[string][]ipam.Subnet{}}
}

// take returns one address per family of a network, in CIDR form.
func (a *addresses) take(network string) (out []string, err error) {
	n := a.tx.Networks().Get(network)
	switch {
	case n == nil:
		return nil, fmt.Errorf("network %s does not exist", network)
	case n.Vni == 0 && n.AllocationError != "":
		return nil, fmt.Errorf("waiting for network %s: %s", n.GetSpec().GetName(), n.AllocationError)
	case n.Vni == 0:
		return nil, fmt.Errorf("waiting for network %s: it has no subnet yet", n.GetSpec().GetName())
	}
	subnets, ok := a.subnets[network]
	if !ok {
		if subnets, err = a.usage(n); err != nil {
			return nil, err
		}
		a.subnets[network] = subnets
	}
	for _, s := range subnets {
		addr, ok := s.Next()
		if !ok {
			return nil, fmt.Errorf("network %s: all %d addresses of %s are in use: stop tasks or use a larger subnet",
				n.GetSpec().GetName(), ipam.Capacity(s.Prefix), s.Prefix)
		}
		out = append(out, netip.PrefixFrom(addr, s.Prefix.Bits()).String())
	}
	return out, nil
}

// usage reads which addresses the tasks and services of a network have. Those of ended tasks are given again last;
// an orphaned task may still use its own where nobody can reach it.
func (a *addresses) usage(n *api.Network) ([]ipam.Subnet, error) {
	out, err := ipam.ParseSubnets(n.Ipam, n.LastGiven)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.GetSpec().GetName(), err)
	}
	take := func(taken bool, addrs []string) {
		for _, s := range out {
			s.Take(taken, addrs...)
		}
	}
	for svc := range a.tx.Services().All(store.ByNetwork(n.Id)) {
		for _, v := range svc.GetEndpoint().GetVirtualIps() {
			if v.NetworkId == n.Id {
				take(true, v.Addresses)
			}
		}
	}
	for t := range a.tx.Tasks().All(store.ByNetwork(n.Id)) {
		state := t.GetStatus().GetState()
		for _, at := range t.Networks {
			if at.NetworkId == n.Id {
				take(state <= api.TaskState_RUNNING || state == api.TaskState_ORPHANED, at.Addresses)
			}
		}
	}
	return out, nil
}

// flush keeps which addresses were given last, so that the next are others (manager/allocator does the same for services).
func (a *addresses) flush() error {
	for id, subnets := range a.subnets {
		last, n := ipam.LastGiven(subnets), a.tx.Networks().Get(id)
		if slices.Equal(last, n.LastGiven) {
			continue
		}
		n = proto.CloneOf(n)
		n.LastGiven = last
		if err := a.tx.Networks().Update(n); err != nil {
			return err
		}
	}
	return nil
}
