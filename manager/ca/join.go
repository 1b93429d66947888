package ca

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	// joinTimeout leaves a manager the time to see an election through.
	joinTimeout = 10 * time.Second
	dialTimeout = 3 * time.Second
)

// quick gives up soon where nobody answers at all.
var quick = grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout})

// Join asks a manager at HOST:PORT to admit this node, and stores the certificate in certDir. The token tells
// whether that is a manager of the right cluster before anything is sent.
func Join(ctx context.Context, certDir, addr, token string, opts ...grpc.DialOption) (*identity.Identity, *api.IssueResponse, error) {
	t, err := identity.ParseToken(token)
	if err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, err.Error())
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
	conn, err := grpc.NewClient("passthrough:///"+addr, append([]grpc.DialOption{grpc.WithTransportCredentials(creds), quick}, opts...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	resp, err := api.NewCAClient(conn).Issue(ctx, &api.IssueRequest{Csr: csr, Token: token})
	if err != nil {
		return nil, nil, joinError(addr, err)
	}
	i, err := identity.New(certDir, resp.Cert, key, resp.CaCert)
	if err != nil {
		return nil, nil, err
	}
	return i, resp, nil
}

// joinError says in one line for a person what grpc wraps several times.
func joinError(addr string, err error) error {
	s := status.Convert(err)
	if _, why, ok := strings.Cut(s.Message(), "authentication handshake failed: "); ok {
		return status.Errorf(codes.FailedPrecondition, "join through %s: %s", addr, strings.Trim(why, `"`))
	}
	switch {
	case s.Code() == codes.DeadlineExceeded, strings.Contains(s.Message(), "i/o timeout"), strings.Contains(s.Message(), "deadline exceeded"):
		return status.Errorf(codes.Unavailable, "no manager answers at %s: is the address right, and its port open?", addr)
	case strings.Contains(s.Message(), "connection error"):
		why := strings.Trim(s.Message()[strings.LastIndex(s.Message(), ": ")+2:], `"`)
		return status.Errorf(codes.Unavailable, "no manager answers at %s (%s): is it a manager, and does its daemon run?", addr, why)
	}
	return status.Errorf(s.Code(), "join through %s: %s", addr, s.Message())
}
