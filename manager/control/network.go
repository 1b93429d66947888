package control

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// CreateNetwork stores the network; the allocator gives it subnets and a VNI, for which this call waits.
func (s *Server) CreateNetwork(ctx context.Context, r *api.CreateNetworkRequest) (*api.CreateNetworkResponse, error) {
	if err := validateNetworkSpec(r.Spec); err != nil {
		return nil, err
	}
	n := &api.Network{Id: id.New(), Spec: r.Spec}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if done := tx.Networks().Done(); done != nil {
			n = done
			return nil
		}
		if err := overlaps(tx, r.Spec); err != nil {
			return err
		}
		return tx.Networks().Create(n)
	})
	if err != nil {
		return nil, toStatus(err, "network "+r.Spec.Name)
	}
	n, err = s.allocated(ctx, n.Id)
	if err != nil {
		return nil, err
	}
	return &api.CreateNetworkResponse{Network: n}, nil
}

// allocationWait bounds how long a create call waits for the allocator, which normally answers in milliseconds.
const allocationWait = 5 * time.Second

// allocated waits until the allocator has looked at a network. One that cannot be had is taken back: nothing half-made
// remains after an error.
func (s *Server) allocated(ctx context.Context, networkID string) (*api.Network, error) {
	var n *api.Network
	err := s.waitFor(ctx, allocationWait, []string{"network"}, func(tx *store.Tx) bool {
		n = tx.Networks().Get(networkID)
		return n == nil || n.Vni != 0 || n.AllocationError != ""
	})
	switch {
	case err != nil:
		return nil, refused("network %s was stored but has no addresses after %s: see 'shoal network inspect'", networkID, allocationWait)
	case n == nil:
		return nil, refused("network %s was removed meanwhile", networkID)
	case n.Vni == 0:
		s.store.Update(ctx, func(tx *store.Tx) error { return tx.Networks().Delete(networkID) })
		return nil, refused("cannot create network %s: %s", n.Spec.Name, n.AllocationError)
	}
	return n, nil
}

func validateNetworkSpec(spec *api.NetworkSpec) error {
	if spec == nil {
		return invalid("network without a spec")
	}
	if err := validateName("network", spec.Name); err != nil {
		return err
	}
	if err := validateSize("network "+spec.Name, spec); err != nil {
		return err
	}
	if spec.Name == "host" || spec.Name == "none" || spec.Name == "bridge" {
		return invalid("network name %s is reserved: choose another", spec.Name)
	}
	if spec.Driver != "overlay" {
		return invalid("driver %q is not a cluster network: use overlay", spec.Driver)
	}
	if spec.Ingress {
		return invalid("an ingress network cannot be created: published ports use the nodes' own subnets")
	}
	for k := range spec.Options {
		return invalid("option %q is not supported by driver overlay", k)
	}
	return validateIPAM(spec.Ipam)
}

func validateIPAM(configs []*api.IPAMConfig) error {
	var v4, v6 int
	for _, c := range configs {
		p, err := netip.ParsePrefix(c.Subnet)
		if err != nil || p != p.Masked() {
			return invalid("subnet %q is not a network prefix: write it like 10.1.0.0/24", c.Subnet)
		}
		if len(c.AuxAddresses) > 0 {
			return invalid("auxiliary addresses are for networks of one node: on an overlay network nothing but Shoal gives addresses")
		}
		if p.Addr().Is4() {
			v4++
		} else {
			v6++
		}
		if p.Addr().BitLen()-p.Bits() < 3 {
			return invalid("subnet %s is too small: a network needs at least 8 addresses", p)
		}
		if c.IpRange != "" {
			return invalid("ip-range is not supported by driver overlay")
		}
		if c.Gateway == "" {
			continue
		}
		if g, err := netip.ParseAddr(c.Gateway); err != nil || !p.Contains(g) {
			return invalid("gateway %q is not an address of subnet %s", c.Gateway, p)
		}
	}
	if v4 > 1 || v6 > 1 {
		return invalid("driver overlay takes at most one subnet per address family")
	}
	return nil
}

// overlaps refuses a wished subnet that would hide an existing network's addresses from containers on both.
func overlaps(tx *store.Tx, spec *api.NetworkSpec) error {
	for _, want := range spec.Ipam {
		p := netip.MustParsePrefix(want.Subnet)
		for _, n := range tx.Networks().List() {
			for _, have := range append(n.Ipam, n.Spec.Ipam...) {
				if q, err := netip.ParsePrefix(have.Subnet); err == nil && p.Overlaps(q) {
					return refused("subnet %s overlaps with network %s (%s): choose another", p, n.Spec.Name, q)
				}
			}
		}
	}
	return nil
}

// ListNetworks returns all.
func (s *Server) ListNetworks(context.Context, *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	r := &api.ListNetworksResponse{}
	s.store.View(func(tx *store.Tx) { r.Networks = tx.Networks().List() })
	return r, nil
}

// GetNetwork returns one.
func (s *Server) GetNetwork(_ context.Context, r *api.GetNetworkRequest) (*api.GetNetworkResponse, error) {
	var n *api.Network
	var err error
	s.store.View(func(tx *store.Tx) { n, err = tx.Networks().Find(r.Ref) })
	if err != nil {
		return nil, toStatus(err, "network: "+r.Ref)
	}
	return &api.GetNetworkResponse{Network: n}, nil
}

// removalWait bounds how long a network's removal waits for tasks that are stopping already, so that
// `service rm` followed by `network rm` works.
const removalWait = 20 * time.Second

// RemoveNetwork deletes a network that nothing uses.
func (s *Server) RemoveNetwork(ctx context.Context, r *api.RemoveNetworkRequest) (*api.RemoveNetworkResponse, error) {
	var networkID string
	var inUse error
	remove := func(tx *store.Tx) error {
		n, err := tx.Networks().Find(r.Ref)
		if err != nil {
			return toStatus(err, "network: "+r.Ref)
		}
		networkID = n.Id
		if inUse = networkUsers(tx, n); inUse != nil {
			return inUse
		}
		return tx.Networks().Delete(n.Id)
	}
	err := s.store.Update(ctx, remove)
	if err == errStopping {
		s.waitFor(ctx, removalWait, []string{"task", "service"}, func(tx *store.Tx) bool {
			n := tx.Networks().Get(networkID)
			return n == nil || networkUsers(tx, n) != errStopping
		})
		err = s.store.Update(ctx, remove)
	}
	if err == errStopping {
		err = refused("network %s is still used by tasks that are stopping: try again in a moment", r.Ref)
	}
	if err = toStatus(err, "network "+r.Ref); gone(ctx, err) {
		networkID, err = r.Ref, nil
	}
	return &api.RemoveNetworkResponse{Id: networkID}, err
}

// errStopping: only tasks that are about to end use it.
var errStopping = refused("used by tasks that are stopping")

func networkUsers(tx *store.Tx, n *api.Network) error {
	for _, svc := range tx.Services().List(store.ByNetwork(n.Id)) {
		switch {
		case svc.PendingDelete:
		case !slices.ContainsFunc(svc.Spec.Networks, func(a *api.NetworkAttachmentSpec) bool { return a.Network == n.Id }):
			return errStopping // an update is taking it off
		default:
			return refused("network %s is in use by service %s: remove the service, or take it off the network first", n.Spec.Name, svc.Spec.Name)
		}
	}
	for _, t := range tx.Tasks().List(store.ByNetwork(n.Id)) {
		if t.Status.GetState() <= api.TaskState_RUNNING {
			return errStopping
		}
	}
	return nil
}
