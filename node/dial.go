//go:build linux

package node

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/shoal-dev/shoal/proto/api"
)

// dial connects to a manager with this node's certificate.
func (m *member) dial(_ context.Context, addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(m.id.ClientTLS("", "h2"))), grpc.WithKeepaliveParams(keepaliveParams))
}

// issue asks any manager for a certificate.
func (m *member) issue(ctx context.Context, r *api.IssueRequest) (*api.IssueResponse, error) {
	if b := m.runningManager(); b != nil {
		return b.manager.Issue(ctx, r)
	}
	err := errors.New("no manager is known")
	for _, addr := range m.managerAddrs() {
		var resp *api.IssueResponse
		if resp, err = m.issueThrough(ctx, addr, r); err == nil {
			return resp, nil
		}
	}
	return nil, err
}

func (m *member) issueThrough(ctx context.Context, addr string, r *api.IssueRequest) (*api.IssueResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	conn, err := m.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return api.NewCAClient(conn).Issue(ctx, r)
}

// managerAddrs are the managers as last told, or those known from joining.
func (m *member) managerAddrs() []string {
	var addrs []string
	for _, w := range m.agent.Managers() {
		addrs = append(addrs, w.Addr)
	}
	if len(addrs) == 0 {
		addrs = m.state.Managers
	}
	return addrs
}
