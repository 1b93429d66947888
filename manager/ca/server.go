package ca

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Deps are what a Server needs of its manager.
type Deps struct {
	// Caller is the node ID in the caller's certificate, "" if it showed none.
	Caller func(ctx context.Context) string
	// IsMember says whether a node still votes: it keeps its role until it does not.
	IsMember func(nodeID string) bool
	Logger   *slog.Logger
}

// Server implements api.CAServer. It must be called on the leader.
type Server struct {
	api.UnimplementedCAServer
	store *store.Store
	deps  Deps
}

// New returns a server over the rows of s.
func New(s *store.Store, d Deps) *Server {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{store: s, deps: d}
}

// Issue signs a certificate: for a new node with a token, or for the node that shows the certificate it has.
func (s *Server) Issue(ctx context.Context, r *api.IssueRequest) (*api.IssueResponse, error) {
	if _, err := identity.ParseRequest(r.Csr); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "certificate request: %v", err)
	}
	cluster := s.cluster()
	if cluster == nil {
		return nil, status.Error(codes.Unavailable, "this manager has not caught up with its cluster yet: try again")
	}
	if r.Token != "" {
		return s.admit(ctx, cluster, r)
	}
	return s.renew(ctx, cluster, r)
}

func (s *Server) cluster() (c *api.Cluster) {
	s.store.View(func(tx *store.Tx) { c = tx.Cluster() })
	return c
}

// admit makes a row for a new node and signs its first certificate.
func (s *Server) admit(ctx context.Context, c *api.Cluster, r *api.IssueRequest) (*api.IssueResponse, error) {
	role, err := CheckToken(c, r.Token)
	if err != nil {
		s.deps.Logger.Warn("a node was refused", "error", err)
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	node := &api.Node{Id: id.New(), Spec: &api.NodeSpec{Role: role}, Role: role, Status: &api.NodeStatus{}}
	resp, err := s.sign(c, r.Csr, node.Id, role) // before the row: a request that cannot be signed leaves none
	if err != nil {
		return nil, err
	}
	if err := s.store.Update(ctx, func(tx *store.Tx) error { return tx.Nodes().Create(node) }); err != nil {
		return nil, toStatus(err)
	}
	s.deps.Logger.Info("node admitted", "node", node.Id, "role", role)
	return resp, nil
}

// renew signs a new certificate for a node that has one, with the role it has now.
func (s *Server) renew(ctx context.Context, c *api.Cluster, r *api.IssueRequest) (*api.IssueResponse, error) {
	caller := s.deps.Caller(ctx)
	if caller == "" {
		return nil, status.Error(codes.Unauthenticated, "a join token is needed, or a certificate to renew")
	}
	var node *api.Node
	s.store.View(func(tx *store.Tx) { node = tx.Nodes().Get(caller) })
	if node == nil {
		return nil, status.Errorf(codes.NotFound, "node %s has been removed from the cluster: run 'shoal cluster leave' on it, then join again", caller)
	}
	role := node.GetSpec().GetRole()
	if role == api.NodeRole_WORKER && s.deps.IsMember(caller) {
		role = api.NodeRole_MANAGER // its vote is still needed: the role goes when it has left the Raft group
	}
	return s.sign(c, r.Csr, caller, role)
}

// CheckToken says which role a token gives, or why it gives none.
func CheckToken(c *api.Cluster, given string) (api.NodeRole, error) {
	token, err := identity.ParseToken(given)
	if err != nil {
		return 0, err
	}
	cert, err := identity.ParseCert(c.CaCert)
	if err != nil {
		return 0, err
	}
	if token.Digest != sha256.Sum256(cert.Raw) {
		return 0, errors.New("the join token is of another cluster than " + c.Id)
	}
	// Both are compared, whatever the first says: the time taken tells nothing.
	worker, manager := matches(token, c.WorkerToken), matches(token, c.ManagerToken)
	switch {
	case manager:
		return api.NodeRole_MANAGER, nil
	case worker:
		return api.NodeRole_WORKER, nil
	}
	return 0, errors.New("the join token is not valid any more (it was rotated) or mistyped: `shoal cluster token worker` on a manager of cluster " + c.Id + " prints the present one")
}

func matches(given identity.Token, stored string) bool {
	token, err := identity.ParseToken(stored)
	return err == nil && given.Equal(token)
}

func (s *Server) sign(c *api.Cluster, csr []byte, nodeID string, role api.NodeRole) (*api.IssueResponse, error) {
	root, err := ParseRoot(c.CaCert, c.CaKey)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	life := c.GetSpec().GetNodeCertExpiry().AsDuration()
	if life <= 0 {
		life = DefaultLife
	}
	cert, err := root.Sign(csr, nodeID, c.Id, RoleOf(role), life)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &api.IssueResponse{
		NodeId: nodeID, ClusterId: c.Id, Role: role, Cert: cert, CaCert: c.CaCert,
		Managers: s.managers(), GossipKeys: c.GossipKeys, DataPathPort: c.DataPathPort,
	}, nil
}

func (s *Server) managers() (addrs []string) {
	s.store.View(func(tx *store.Tx) {
		for _, n := range tx.Nodes().List() {
			if a := n.GetManagerStatus().GetAddr(); a != "" {
				addrs = append(addrs, a)
			}
		}
	})
	return addrs
}

// RoleOf is the role of a certificate for the role of a row.
func RoleOf(r api.NodeRole) identity.Role {
	if r == api.NodeRole_MANAGER {
		return identity.Manager
	}
	return identity.Worker
}

func toStatus(err error) error {
	if errors.Is(err, store.ErrNotLeader) {
		return status.Error(codes.Unavailable, "this manager is not the leader: repeat the request")
	}
	return status.Errorf(codes.Internal, "admit node: %v", err)
}
