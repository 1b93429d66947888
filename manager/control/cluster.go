package control

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// GetCluster returns the cluster with its tokens and without its keys.
func (s *Server) GetCluster(context.Context, *api.GetClusterRequest) (*api.GetClusterResponse, error) {
	var c *api.Cluster
	s.store.View(func(tx *store.Tx) { c = tx.Cluster() })
	if c == nil {
		return nil, refused("the cluster is still being made: try again")
	}
	return &api.GetClusterResponse{Cluster: redact(c)}, nil
}

// redact leaves out what never leaves the managers.
func redact(c *api.Cluster) *api.Cluster {
	c = proto.CloneOf(c)
	c.CaKey, c.GossipKeys = nil, nil
	return c
}

// UpdateCluster changes the cluster's spec and rotates tokens.
func (s *Server) UpdateCluster(ctx context.Context, r *api.UpdateClusterRequest) (*api.UpdateClusterResponse, error) {
	if err := ValidateClusterSpec(r.Spec); err != nil {
		return nil, err
	}
	worker, manager, err := s.newTokens(r)
	if err != nil {
		return nil, err
	}
	var c *api.Cluster
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if c = tx.ClusterDone(); c != nil {
			return nil
		}
		old := tx.Cluster()
		if err := atVersion(old, r.Version, "cluster"); err != nil {
			return err
		}
		c = proto.CloneOf(old)
		if r.Spec != nil {
			c.Spec = r.Spec
		}
		if worker != "" {
			c.WorkerToken = worker
		}
		if manager != "" {
			c.ManagerToken = manager
		}
		return tx.SetCluster(c)
	})
	if err != nil {
		return nil, toStatus(err, "cluster")
	}
	return &api.UpdateClusterResponse{Cluster: redact(c)}, nil
}

// newTokens makes the tokens asked for, outside the transaction because they are random.
func (s *Server) newTokens(r *api.UpdateClusterRequest) (worker, manager string, err error) {
	var c *api.Cluster
	s.store.View(func(tx *store.Tx) { c = tx.Cluster() })
	if r.RotateWorkerToken {
		if worker, err = s.deps.NewToken(c.GetCaCert()); err != nil {
			return "", "", toStatus(err, "worker token")
		}
	}
	if r.RotateManagerToken {
		if manager, err = s.deps.NewToken(c.GetCaCert()); err != nil {
			return "", "", toStatus(err, "manager token")
		}
	}
	return worker, manager, nil
}

// minCertExpiry is what nodes can keep up with: they renew certificates long before these expire.
const minCertExpiry = time.Hour

// ValidateClusterSpec checks all that can be checked without the cluster's rows: init has none yet.
func ValidateClusterSpec(spec *api.ClusterSpec) error {
	if spec == nil {
		return nil
	}
	if spec.SubnetSize != 0 && (spec.SubnetSize < 8 || spec.SubnetSize > 29) {
		return invalid("subnet size %d is out of range: it must be 8 to 29", spec.SubnetSize)
	}
	size := int(cmp.Or(spec.SubnetSize, defaultSubnetSize))
	for _, p := range spec.AddressPools {
		if err := validatePool(p, size); err != nil {
			return err
		}
	}
	if spec.NodePool != "" {
		if err := validatePool(spec.NodePool, maxNodePool); err != nil {
			return err
		}
	}
	if spec.LostAfter != nil && spec.LostAfter.AsDuration() <= 0 {
		return invalid("lost-after must be positive")
	}
	if spec.NodeCertExpiry != nil && spec.NodeCertExpiry.AsDuration() < minCertExpiry {
		return invalid("cert-expiry of %s is too short: it must be at least %s", spec.NodeCertExpiry.AsDuration(), minCertExpiry)
	}
	return nil
}

const (
	defaultSubnetSize = 22 // the allocator's
	// maxNodePool is the length of the smallest pool that has a useful subnet for every node.
	maxNodePool = 24
)

// validatePool refuses a pool that no subnet of the given length could ever come from.
func validatePool(pool string, size int) error {
	p, err := netip.ParsePrefix(pool)
	switch {
	case err != nil:
		return invalid("address pool %q is not a prefix: write it like 10.96.0.0/12", pool)
	case !p.Addr().Is4():
		return invalid("address pool %s is not of IPv4: IPv6 subnets come from the cluster's own prefix", pool)
	case p != p.Masked():
		return invalid("address pool %s has host bits set: did you mean %s?", pool, p.Masked())
	case p.Bits() > size:
		return invalid("address pool %s is smaller than one network in it, a /%d: give a larger pool, or smaller networks with --default-addr-pool-mask-length", pool, size)
	}
	return nil
}
