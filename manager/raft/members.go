package raft

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-dev/shoal/manager/store"
)

// Member is one manager of the group.
type Member struct {
	ID    string
	Addr  string // "" if not known
	Voter bool
	// Reachable is known to the leader only: the member answers heartbeats.
	Reachable bool
}

// Status is what this node knows of the group.
type Status struct {
	Leader  string // "" if there is none
	Term    uint64
	Applied uint64
	Members []Member
}

// IsLeader says whether this node leads, as far as it knows.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader is the present leader's node ID and address, "" if there is none.
func (n *Node) Leader() (id, addr string) {
	_, lead := n.raft.LeaderWithID()
	addr, _ = n.peers.get(string(lead))
	return string(lead), addr
}

// Status never waits for the network.
func (n *Node) Status() Status {
	lead, _ := n.Leader()
	s := Status{Leader: lead, Term: n.raft.CurrentTerm(), Applied: n.raft.AppliedIndex()}
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return s
	}
	for _, srv := range f.Configuration().Servers {
		addr, _ := n.peers.get(string(srv.ID))
		s.Members = append(s.Members, Member{
			ID: string(srv.ID), Addr: addr, Voter: srv.Suffrage == raft.Voter,
			Reachable: n.reachable(string(srv.ID)),
		})
	}
	return s
}

// SetPeer remembers where a manager is reached; "" forgets it.
func (n *Node) SetPeer(id, addr string) error {
	if id == n.cfg.ID {
		return nil
	}
	return n.peers.set(id, addr)
}

// AddLearner makes a manager a member that is told everything and counts for no majority. Only the leader can.
func (n *Node) AddLearner(id, addr string, timeout time.Duration) error {
	if err := n.SetPeer(id, addr); err != nil || n.IsMember(id) {
		return err
	}
	if err := n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, timeout).Error(); err != nil {
		return fmt.Errorf("add manager %s: %w", id, notLeader(err))
	}
	return nil
}

// AddVoter gives a manager, member or not, a vote. Only the leader can.
func (n *Node) AddVoter(id, addr string, timeout time.Duration) error {
	if err := n.SetPeer(id, addr); err != nil || n.Votes(id) {
		return err
	}
	if err := n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, timeout).Error(); err != nil {
		return fmt.Errorf("give manager %s a vote: %w", id, notLeader(err))
	}
	return nil
}

// Remove takes a member out of the group. Only the leader can.
func (n *Node) Remove(id string, timeout time.Duration) error {
	if err := n.raft.RemoveServer(raft.ServerID(id), 0, timeout).Error(); err != nil {
		return fmt.Errorf("remove manager %s: %w", id, notLeader(err))
	}
	return nil
}

// Transfer hands the office to another member, the most up to date one.
func (n *Node) Transfer() error {
	if err := n.raft.LeadershipTransfer().Error(); err != nil {
		return fmt.Errorf("hand over leadership: %w", notLeader(err))
	}
	return nil
}

// Barrier waits until everything committed so far has been applied here. Only the leader can.
func (n *Node) Barrier(ctx context.Context) error {
	_, err := n.Term(ctx)
	return err
}

// Snapshot writes a snapshot now, whatever the number of entries since the last one.
func (n *Node) Snapshot() error {
	if err := n.raft.Snapshot().Error(); err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

func notLeader(err error) error {
	if err == raft.ErrNotLeader || err == raft.ErrLeadershipLost || err == raft.ErrLeadershipTransferInProgress {
		return fmt.Errorf("%w: %w", store.ErrNotLeader, err)
	}
	return err
}

// LeaderChanged is closed when another leader, or none, is known.
func (n *Node) LeaderChanged() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// IsMember says whether a node is in the group, as far as this one knows.
func (n *Node) IsMember(id string) bool {
	return slices.ContainsFunc(n.Status().Members, func(m Member) bool { return m.ID == id })
}

// Votes says whether a node is in the group and has a vote, as far as this one knows.
func (n *Node) Votes(id string) bool {
	return slices.ContainsFunc(n.Status().Members, func(m Member) bool { return m.ID == id && m.Voter })
}

// Voters are the members that count for the majority.
func (s Status) Voters() []Member {
	return slices.DeleteFunc(slices.Clone(s.Members), func(m Member) bool { return !m.Voter })
}

// observe keeps which members the leader cannot reach, and tells of new leaders.
func (n *Node) observe() {
	o := raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch d := o.Data.(type) {
		case raft.FailedHeartbeatObservation:
			n.silent[string(d.PeerID)] = true
		case raft.ResumedHeartbeatObservation:
			delete(n.silent, string(d.PeerID))
		case raft.RaftState:
			clear(n.silent) // a new leader finds out by itself
		case raft.LeaderObservation:
			close(n.changed)
			n.changed = make(chan struct{})
		}
		return false
	})
	n.raft.RegisterObserver(o)
}

func (n *Node) reachable(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.silent[id]
}
