//go:build linux

package node

import (
	"context"
	"time"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/proto/api"
)

// LeaveCluster ends this node's membership: its tasks' containers, networks and certificates are removed. A manager
// needs force, because the others go on counting votes.
func (l *local) LeaveCluster(ctx context.Context, r *api.LeaveClusterRequest) (*api.LeaveClusterResponse, error) {
	n := l.node
	n.change.Lock()
	defer n.change.Unlock()
	m, broken := n.current()
	if m == nil && broken == nil {
		return nil, errNoCluster()
	}
	if m != nil {
		if err := m.mayLeave(ctx, r.Force); err != nil {
			return nil, err
		}
		m.sayGoodbye()
	}
	n.forget()
	return &api.LeaveClusterResponse{}, nil
}

// mayLeave takes a manager out of the Raft group first, as long as there is anybody left to agree to it.
func (m *member) mayLeave(ctx context.Context, force bool) error {
	if m.id.Role() != identity.Manager {
		return nil
	}
	members := m.voters(ctx)
	if !force {
		if members <= 1 {
			return refused("this node is the last manager: leaving ends the cluster and loses its services; use --force if that is meant")
		}
		return refused("this node is one of %d managers: demote it first ('shoal node demote'), or use --force", members)
	}
	if members > 1 {
		if err := m.leaveGroup(ctx); err != nil {
			m.log.Warn("left without the other managers' consent: remove this node there with 'shoal node demote' and 'shoal node rm'", "err", err)
		}
	}
	return nil
}

const goodbyeWait = 500 * time.Millisecond

// sayGoodbye tells gossip, so that nobody has to notice.
func (m *member) sayGoodbye() {
	if p := m.live.current(); p != nil {
		if err := p.Leave(goodbyeWait); err != nil {
			m.log.Debug("gossip was not told", "err", err)
		}
	}
}

// forgetTasks removes the containers that belong to a cluster's tasks.
func (n *Node) forgetTasks() {
	all, err := n.engine.List(n.ctx, &api.ListContainersRequest{All: true})
	if err != nil {
		n.log.Error("containers were not listed", "err", err)
		return
	}
	for _, c := range all {
		if c.TaskId == "" {
			continue
		}
		if err := n.engine.Remove(context.WithoutCancel(n.ctx), c.Id, true, true); err != nil {
			n.log.Error("task's container was not removed", "container", c.Id, "err", err)
		}
	}
}
