package dispatcher

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/proto/api"
)

// FromTLS reads the calling node from its certificate. It is the default of Deps.Caller.
func FromTLS(ctx context.Context) (Peer, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Peer{}, status.Error(codes.Unauthenticated, "call without a peer")
	}
	t, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return Peer{}, status.Error(codes.Unauthenticated, "call without TLS: nodes talk to managers on the cluster port only")
	}
	info, ok := identity.Peer(t.State)
	if !ok {
		return Peer{}, status.Error(codes.Unauthenticated, "call without a node's certificate: join the cluster first")
	}
	who := Peer{NodeID: info.NodeID}
	if info.Role == identity.Manager {
		who.Role = api.NodeRole_MANAGER
	}
	return who, nil
}
