package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	changeTimeout = 5 * time.Second // for one change of the Raft group
	rolesResync   = 5 * time.Second
	joinPause     = 200 * time.Millisecond
	readyPause    = 5 * time.Millisecond
	learnWait     = 2 * time.Second
	voteWait      = 10 * time.Second
	// almost is how many entries a manager may lack that gets a vote: some are always under way.
	almost = 64
	// stranded is how long a member may hear of no leader before it asks to be let in again. Elections take a second.
	stranded = 5 * time.Second
)

// membership implements api.MembershipServer: who votes.
type membership struct {
	api.UnimplementedMembershipServer
	m *Manager
}

// Join makes a manager a member: first a learner, then a voter.
func (s membership) Join(ctx context.Context, r *api.MembershipJoinRequest) (*api.MembershipJoinResponse, error) {
	m := s.m
	if c := callerOf(ctx); c.kind == callerNode && c.node != r.NodeId {
		return nil, status.Errorf(codes.PermissionDenied, "node %s may not join as node %s", c.node, r.NodeId)
	}
	if r.Addr == "" {
		return nil, status.Error(codes.InvalidArgument, "a manager joins with the address where it is reached")
	}
	// A voter that does not answer could cost the others their majority.
	probe, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.handshake(probe, r.NodeId, r.Addr); err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "manager %s cannot be reached from the leader at %s: %v", r.NodeId, r.Addr, err)
	}
	if err := m.recordManager(ctx, r); err != nil {
		return nil, err
	}
	add, news := m.raft.AddVoter, !m.raft.Votes(r.NodeId)
	if r.Learner {
		add, news = m.raft.AddLearner, !m.raft.IsMember(r.NodeId)
	}
	if err := add(r.NodeId, r.Addr, changeTimeout); err != nil {
		return nil, memberStatus(err)
	}
	if news {
		m.log.Info("manager joined", "node", r.NodeId, "addr", r.Addr, "learner", r.Learner)
	}
	return &api.MembershipJoinResponse{Members: m.raftMembers(), Applied: m.raft.Status().Applied}, nil
}

// recordManager writes the address of a manager into its row, if the row says that it is to be one.
func (m *Manager) recordManager(ctx context.Context, r *api.MembershipJoinRequest) error {
	return m.store.Update(ctx, func(tx *store.Tx) error {
		n := tx.Nodes().Get(r.NodeId)
		if n == nil {
			return status.Errorf(codes.NotFound, "node %s is not part of this cluster", r.NodeId)
		}
		if n.GetSpec().GetRole() != api.NodeRole_MANAGER {
			return status.Errorf(codes.PermissionDenied, "node %s is to be a worker: run 'shoal node promote' first", r.NodeId)
		}
		if n.Role == api.NodeRole_MANAGER && n.ManagerStatus.GetAddr() == r.Addr {
			return nil
		}
		n = store.Clone(n)
		n.Role = api.NodeRole_MANAGER
		n.ManagerStatus = &api.ManagerStatus{Addr: r.Addr}
		return tx.Nodes().Update(n)
	})
}

// Leave takes a manager out of the group, by making it a worker.
func (s membership) Leave(ctx context.Context, r *api.MembershipLeaveRequest) (*api.MembershipLeaveResponse, error) {
	m := s.m
	if !m.raft.IsMember(r.NodeId) {
		return &api.MembershipLeaveResponse{}, nil
	}
	if err := m.spare(r.NodeId); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	err := m.store.Update(ctx, func(tx *store.Tx) error {
		n := store.Clone(tx.Nodes().Get(r.NodeId))
		if n == nil || n.GetSpec().GetRole() == api.NodeRole_WORKER {
			return nil
		}
		n.Spec.Role = api.NodeRole_WORKER
		return tx.Nodes().Update(n)
	})
	if err != nil {
		return nil, memberStatus(err)
	}
	if r.NodeId == m.cfg.Identity.NodeID() {
		if err := m.raft.Transfer(); err != nil {
			return nil, memberStatus(err)
		}
		return nil, status.Error(codes.Unavailable, "this leader has handed over to leave: ask the next") // the caller's manager does
	}
	if err := m.raft.Remove(r.NodeId, changeTimeout); err != nil {
		return nil, memberStatus(err)
	}
	return &api.MembershipLeaveResponse{}, nil
}

// Status is what this manager knows of the group.
func (s membership) Status(context.Context, *api.MembershipStatusRequest) (*api.MembershipStatusResponse, error) {
	st := s.m.raft.Status()
	return &api.MembershipStatusResponse{LeaderId: st.Leader, Term: st.Term, Applied: st.Applied, Members: s.m.raftMembers(), Requests: true}, nil
}

func (m *Manager) raftMembers() (out []*api.RaftMember) {
	for _, p := range m.raft.Status().Members {
		out = append(out, &api.RaftMember{NodeId: p.ID, Addr: p.Addr, Voter: p.Voter})
	}
	return out
}

func memberStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, store.ErrNotLeader) {
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

// spare says why a member cannot be done without.
func (m *Manager) spare(id string) error {
	if m.raft.IsMember(id) && !m.raft.Votes(id) {
		return nil
	}
	_, reachable, _ := m.members()
	rest, answer := 0, 0
	for _, p := range m.raft.Status().Voters() {
		if p.ID == id {
			continue
		}
		rest++
		if reachable[p.ID] {
			answer++
		}
	}
	if rest == 0 {
		return errors.New("this is the last manager: promote another node first, or use --force to give the cluster up")
	}
	if answer <= rest/2 {
		return fmt.Errorf("only %d of the %d other managers answer, too few to go on without this one", answer, rest)
	}
	return nil
}

// keepRoles makes the Raft group follow the rows: a member whose row says worker (or is gone) leaves it. Joining is the
// other way round: a promoted node renews its certificate and then calls Join.
func (m *Manager) keepRoles(ctx context.Context) error {
	return m.store.Follow(ctx, store.FollowOptions{Kinds: []string{store.KindNode}, Resync: rolesResync}, func(tx *store.Tx, _ []store.Event) error {
		for _, p := range m.raft.Status().Members {
			if tx.Nodes().Get(p.ID).GetSpec().GetRole() == api.NodeRole_MANAGER {
				continue
			}
			if err := m.retire(p.ID); err != nil {
				m.log.Warn("a manager could not be made a worker, will try again", "node", p.ID, "error", err)
			}
		}
		return m.markWorkers(ctx)
	})
}

func (m *Manager) retire(id string) error {
	if err := m.spare(id); err != nil {
		return err
	}
	if id == m.cfg.Identity.NodeID() {
		return m.raft.Transfer() // the next leader goes on
	}
	if err := m.raft.Remove(id, changeTimeout); err != nil {
		return err
	}
	m.log.Info("manager left", "node", id)
	return m.raft.SetPeer(id, "")
}

// markWorkers writes down who has become a worker.
func (m *Manager) markWorkers(ctx context.Context) error {
	var done []string
	m.store.View(func(tx *store.Tx) {
		for n := range tx.Nodes().All() {
			if n.GetSpec().GetRole() == api.NodeRole_WORKER && n.Role == api.NodeRole_MANAGER && !m.raft.IsMember(n.Id) {
				done = append(done, n.Id)
			}
		}
	})
	if len(done) == 0 {
		return nil
	}
	return m.store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range done {
			if n := tx.Nodes().Get(id); n != nil && n.GetSpec().GetRole() == api.NodeRole_WORKER {
				if err := tx.Nodes().Update(asWorker(n)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func asWorker(n *api.Node) *api.Node {
	n = store.Clone(n)
	n.Role, n.ManagerStatus = api.NodeRole_WORKER, nil
	if n.Spec == nil {
		n.Spec = &api.NodeSpec{}
	}
	n.Spec.Role = api.NodeRole_WORKER
	return n
}

// forgetOthers makes workers of all other managers, after a new cluster was forced.
func (m *Manager) forgetOthers(ctx context.Context) error {
	return m.store.Update(ctx, func(tx *store.Tx) error {
		for _, n := range tx.Nodes().List() {
			manager := n.Role == api.NodeRole_MANAGER || n.GetSpec().GetRole() == api.NodeRole_MANAGER
			if !manager || n.Id == m.cfg.Identity.NodeID() || m.raft.IsMember(n.Id) {
				continue
			}
			if err := tx.Nodes().Update(asWorker(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// join gives this manager a vote, if it has none yet. It tries until it has. It goes on watching: a manager
// that was removed while it was off, and promoted again, takes itself for a member, and no leader speaks to it.
func (m *Manager) join(ctx context.Context) error {
	led := time.Now()
	for {
		changed, wait := m.raft.LeaderChanged(), joinPause
		follows := false
		switch votes := m.raft.Votes(m.cfg.Identity.NodeID()); {
		case votes && m.leaderID() != "":
			follows, wait = true, stranded
		case votes && time.Since(led) < stranded:
			wait = stranded
		case votes:
			wait = stranded
			m.joinThroughAny(ctx)
		default:
			m.joinThroughAny(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(wait):
		}
		if follows {
			led = time.Now()
		}
	}
}

// joinThroughAny asks one manager after the other, and remembers why none did it.
func (m *Manager) joinThroughAny(ctx context.Context) bool {
	for _, addr := range m.doors() {
		err := m.joinThrough(ctx, addr)
		if m.noteJoin(addr, err) && ctx.Err() == nil {
			m.log.Warn("joining the managers failed, will try again", "through", addr, "error", err)
		}
		if err == nil {
			return true
		}
	}
	return false
}

// doors are the managers that may be asked to let this one in.
func (m *Manager) doors() []string {
	addrs := slices.Clone(m.cfg.Managers)
	for _, a := range m.otherManagers() {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// noteJoin remembers how joining through a manager went, and tells whether that is a failure and news.
func (m *Manager) noteJoin(addr string, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.joinErr, m.joinErrs = nil, nil
		return false
	}
	if m.joinErrs == nil {
		m.joinErrs = map[string]string{}
	}
	news := m.joinErrs[addr] != err.Error()
	m.joinErr, m.joinErrs[addr] = err, err.Error()
	return news
}

// Ready waits until this manager has a vote and knows who leads. After voteWait it is enough that it learns: a large cluster has
// much to tell.
func (m *Manager) Ready(ctx context.Context) error {
	began, self := time.Now(), m.cfg.Identity.NodeID()
	for {
		if m.raft.Started() && m.leaderID() != "" && (m.raft.Votes(self) || m.raft.IsMember(self) && time.Since(began) > voteWait) {
			return nil
		}
		if pause.For(ctx, readyPause) != nil {
			return m.notReady()
		}
	}
}

func (m *Manager) notReady() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.joinErr != nil {
		return fmt.Errorf("join the other managers: %s", status.Convert(m.joinErr).Message())
	}
	return errors.New("there is no leader yet")
}

// Quorum says who leads, and how many managers answer of how many there are. It takes half a second at most.
func (m *Manager) Quorum(ctx context.Context) (leader string, answer, all int) {
	if !m.raft.Started() {
		return "", 0, 0
	}
	answer, all = m.probe(ctx)
	return m.leaderID(), answer, all
}

// joinThrough makes this manager a learner, and a voter if it catches up soon; else the next call does. A voter that lacks much
// could cost the others their majority: with it they are one more, and it can say yes to nothing before it has all.
func (m *Manager) joinThrough(ctx context.Context, addr string) error {
	conn, err := m.dialManager(addr, m.cfg.Identity.ClientTLS("", protoGRPC))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*changeTimeout)
	defer cancel()
	r := &api.MembershipJoinRequest{NodeId: m.cfg.Identity.NodeID(), Addr: m.cfg.AdvertiseAddr, Learner: true}
	joined, err := api.NewMembershipClient(conn).Join(ctx, r)
	if err != nil {
		return err
	}
	for _, p := range joined.Members {
		if err := m.raft.SetPeer(p.NodeId, p.Addr); err != nil {
			return err
		}
	}
	if !m.learned(ctx, joined.Applied) {
		return nil
	}
	r.Learner = false
	_, err = api.NewMembershipClient(conn).Join(ctx, r)
	return err
}

// learned waits a little until this manager hears the leader, and has almost what that one had.
func (m *Manager) learned(ctx context.Context, applied uint64) bool {
	for began := time.Now(); !m.raft.IsMember(m.cfg.Identity.NodeID()) || m.raft.Status().Applied+almost < applied; {
		if time.Since(began) > learnWait || pause.For(ctx, readyPause) != nil {
			return false
		}
	}
	return true
}
