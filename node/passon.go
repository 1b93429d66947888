//go:build linux

package node

import (
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
)

// manager is where the local socket passes requests on to, or why it cannot.
func (n *Node) manager() (*grpc.ClientConn, error) {
	m, broken := n.current()
	switch {
	case m == nil && broken == nil:
		return nil, errNoCluster()
	case m == nil || m.ended() && broken != nil:
		return nil, refused("this node's part in the cluster does not run: %v", broken)
	case m.ended():
		return nil, status.Errorf(codes.Unavailable, "this node's part in the cluster has ended and will be started again: %v", m.err)
	}
	if b := m.runningManager(); b != nil {
		return b.conn, nil
	}
	if m.id.Role() == identity.Manager {
		return nil, status.Errorf(codes.Unavailable, "the manager of this node does not run: %v", or(errorText(m.trouble()), "it is starting, try again in a moment"))
	}
	return nil, refused("this node is a worker: run this on a manager%s", m.somewhere())
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// somewhere names managers that this worker knows.
func (m *member) somewhere() string {
	var hosts []string
	for _, a := range m.managerAddrs() {
		if h, _, err := net.SplitHostPort(a); err == nil {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", strings.Join(hosts, ", "))
}
