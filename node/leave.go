//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/overlay"
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
	}
	if err := n.forget(); err != nil {
		n.setBroken(err)
		return nil, refused("this node has left, but not all was removed: %v; run 'shoal cluster leave --force' again", err)
	}
	n.log.Info("this node has left the cluster")
	return &api.LeaveClusterResponse{}, nil
}

// mayLeave takes a manager out of the Raft group first, as long as there is anybody left to agree to it.
func (m *member) mayLeave(ctx context.Context, force bool) error {
	if m.id.Role() != identity.Manager || m.removed.Load() {
		return nil
	}
	members := m.voters(ctx)
	switch {
	case !force && members == 1:
		return refused("this node is the last manager: leaving ends the cluster and loses its services; use --force if that is meant")
	case !force && members == 0:
		return refused("this node is a manager, but its manager does not run: use --force to leave all the same")
	case !force:
		return refused("this node is one of %d managers: demote it first ('shoal node demote %s'), or use --force", members, m.node.cfg.Hostname)
	case members > 1:
		if err := m.leaveGroup(ctx); err != nil {
			m.log.Warn("left without the other managers' consent: remove this node there with 'shoal node demote' and 'shoal node rm'", "error", err)
		}
	}
	return nil
}

// forget ends the membership and removes all of it. What it cannot remove now it removes at the next start.
func (n *Node) forget() error {
	st, err := markLeaving(n.cfg.DataDir)
	if m, _ := n.current(); m != nil {
		m.leaving.Store(true)
		m.end()
	}
	n.become(nil, nil)
	return errors.Join(err, n.sweep(st))
}

const (
	goodbyeWait   = 500 * time.Millisecond
	removeAtOnce  = 8 // containers
	forgetTimeout = 2 * time.Minute
)

// forgetTasks removes the containers that belong to a cluster's tasks.
func (n *Node) forgetTasks() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), forgetTimeout)
	defer cancel()
	all, err := n.tasks.Tasks(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var g errgroup.Group
	g.SetLimit(removeAtOnce)
	for _, c := range all {
		g.Go(func() error {
			if err := n.tasks.Remove(ctx, c.Id); err != nil {
				return fmt.Errorf("remove container %s: %w", c.Id, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// noAddress is for documentation (RFC 5737): no host has it.
var noAddress = netip.MustParseAddr("192.0.2.1")

// clearNetworks removes what the overlay has made in the kernel. Without a state there was none.
func (n *Node) clearNetworks(st state) error {
	if st.DataPathAddr == "" {
		return nil
	}
	// Cleaning up speaks to nobody, so any address does: the membership's own may be what was wrong with it.
	o, err := n.openOverlay(overlay.Config{NodeID: "leaving", RunDir: n.cfg.RunDir, VTEP: noAddress, Port: uint16(st.DataPathPort), Logger: n.log})
	if err != nil {
		return err
	}
	defer o.Close()
	return o.Cleanup(context.WithoutCancel(n.ctx))
}
