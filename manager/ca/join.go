package ca

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/proto/api"
)

// Join asks a manager at HOST:PORT to admit this node, and stores the certificate in certDir. The token tells
// whether that is a manager of the right cluster before anything is sent.
func Join(ctx context.Context, certDir, addr, token string, opts ...grpc.DialOption) (*identity.Identity, *api.IssueResponse, error) {
	t, err := identity.ParseToken(token)
	if err != nil {
		return nil, nil, err
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, nil, err
	}
	csr, err := identity.NewRequest(key)
	if err != nil {
		return nil, nil, err
	}
	creds := credentials.NewTLS(identity.PinnedTLS(t.Digest, "h2"))
	conn, err := grpc.NewClient("passthrough:///"+addr, append([]grpc.DialOption{grpc.WithTransportCredentials(creds)}, opts...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	defer conn.Close()
	resp, err := api.NewCAClient(conn).Issue(ctx, &api.IssueRequest{Csr: csr, Token: token})
	if err != nil {
		return nil, nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	i, err := identity.New(certDir, resp.Cert, key, resp.CaCert)
	if err != nil {
		return nil, nil, err
	}
	return i, resp, nil
}
