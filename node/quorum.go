//go:build linux

package node

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// fillManagers adds what a manager knows of the cluster. It asks the other managers, but not for long.
func (m *member) fillManagers(ctx context.Context, c *api.ClusterInfo) {
	b := m.runningManager()
	if b == nil {
		return
	}
	b.manager.Store().View(func(tx *store.Tx) {
		for _, n := range tx.Nodes().List() {
			c.Nodes++
			if n.Role == api.NodeRole_MANAGER {
				c.Managers++
			}
		}
	})
	leader, answer, _ := b.manager.Quorum(ctx)
	c.LeaderId, c.ManagersReachable = leader, int32(answer)
}

// voters counts the members of the Raft group, 0 if nobody can say.
func (m *member) voters(ctx context.Context) int {
	b := m.runningManager()
	if b == nil {
		return 0
	}
	_, _, all := b.manager.Quorum(ctx)
	return all
}

const (
	leaveTimeout = 10 * time.Second
	leavePause   = 200 * time.Millisecond
)

// leaveGroup takes this manager out of the Raft group. The others may have done so, and this node may have heard of it,
// before the answer is here.
func (m *member) leaveGroup(ctx context.Context) error {
	b := m.runningManager()
	if b == nil {
		return errors.New("the manager of this node does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for {
		_, err := api.NewMembershipClient(b.conn).Leave(ctx, &api.MembershipLeaveRequest{NodeId: m.id.NodeID()})
		code := status.Code(err)
		if err == nil || code == codes.PermissionDenied || m.id.Role() == identity.Worker {
			return nil // who asks is no manager any more
		}
		// It may be asked for twice, and whoever leads may have been lost while it worked on this.
		leader, _, _ := b.manager.Quorum(ctx)
		if code != codes.Unavailable && code != codes.Internal || leader == "" || pause.For(ctx, leavePause) != nil {
			return err
		}
	}
}
