package dispatcher

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// gossipPeers is how many contact points an agent is told; gossip spreads from any of them.
const gossipPeers = 8

// Session registers the node and then tells it of its row, the managers and the keys, at once and at each change.
func (d *Dispatcher) Session(req *api.SessionRequest, stream grpc.ServerStreamingServer[api.SessionMessage]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	who, err := d.deps.Caller(ctx)
	if err != nil {
		return err
	}
	if !d.known(who.NodeID) {
		if err := d.register(ctx, who, req); err != nil {
			return err
		}
	}
	defer d.sessionEnded(who.NodeID)

	s := &session{d: d, who: who, stream: stream}
	go func() { cancel(s.keepRegistered(ctx, req)) }()
	go func() { cancel(s.beat(ctx)) }()
	err = d.store.Follow(ctx, store.FollowOptions{
		Kinds: []string{"node", "cluster"}, Resync: leaderCheck, Debounce: debounce,
	}, s.tell)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

func (d *Dispatcher) known(nodeID string) (found bool) {
	d.store.View(func(tx *store.Tx) { found = tx.Nodes().Get(nodeID) != nil })
	return found
}

// session is one open stream to a node.
type session struct {
	d      *Dispatcher
	who    Peer
	stream grpc.ServerStreamingServer[api.SessionMessage]

	mu   sync.Mutex // one sender at a time
	last *api.SessionMessage
}

// keepRegistered registers the node with the leader, with each new one, and again now and then: a leader knows
// nothing of the sessions that other managers hold, and less after its restart. It gives up when there is no leader for
// long: this manager may be cut off from those that have one, and the agent should look elsewhere.
func (s *session) keepRegistered(ctx context.Context, req *api.SessionRequest) error {
	tick := time.NewTicker(registerRetry)
	defer tick.Stop()
	registeredWith, last, led := "", time.Time{}, time.Now()
	for {
		leader := s.d.deps.LeaderID()
		if leader != "" {
			led = time.Now()
		} else if time.Since(led) > leaderless {
			return status.Errorf(codes.Unavailable, "manager %s has had no leader for %v", s.d.deps.NodeID, leaderless)
		}
		if leader != "" && (leader != registeredWith || time.Since(last) > registerAgain) {
			err := s.d.register(ctx, s.who, req)
			if err == nil {
				registeredWith, last = leader, time.Now()
			} else if ctx.Err() == nil {
				s.d.log.Warn("registering a node failed, will try again", "node", s.who.NodeID, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// beat sends heartbeats, so that an agent notices a dead manager soon.
func (s *session) beat(ctx context.Context) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := s.send(&api.SessionMessage{}); err != nil {
				return err
			}
		}
	}
}

func (s *session) send(m *api.SessionMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(m)
}

func (s *session) tell(tx *store.Tx, _ []store.Event) error {
	node := tx.Nodes().Get(s.who.NodeID)
	if node == nil && s.last == nil {
		return nil // registered a moment ago with the leader: this replica will see it
	}
	if node == nil {
		return status.Errorf(codes.NotFound, "node %s is no longer part of this cluster", s.who.NodeID)
	}
	m := s.d.sessionMessage(tx, node)
	if s.last != nil && proto.Equal(s.last, m) {
		return nil
	}
	s.last = m
	return s.send(m)
}

func (d *Dispatcher) sessionMessage(tx *store.Tx, node *api.Node) *api.SessionMessage {
	m := &api.SessionMessage{Node: node}
	if c := tx.Cluster(); c != nil {
		m.GossipKeys, m.CaCert = c.GossipKeys, c.CaCert
	}
	leader := d.deps.LeaderID()
	var workers []string
	for _, n := range tx.Nodes().List() {
		manager := n.ManagerStatus.GetAddr() != ""
		if manager {
			m.Managers = append(m.Managers, &api.WeightedManager{
				NodeId: n.Id, Addr: n.ManagerStatus.Addr, Leader: n.Id == leader,
			})
		}
		if n.Id == node.Id || n.Status.GetState() != api.NodeStatus_READY || n.Status.GossipPort == 0 {
			continue
		}
		peer := net.JoinHostPort(n.Status.Addr, strconv.Itoa(int(n.Status.GossipPort)))
		if manager {
			m.GossipPeers = append(m.GossipPeers, peer)
		} else if len(workers) < gossipPeers {
			workers = append(workers, peer)
		}
	}
	m.GossipPeers = append(m.GossipPeers, workers...)
	m.GossipPeers = m.GossipPeers[:min(len(m.GossipPeers), gossipPeers)]
	return m
}

// register writes the node's row here, if this is the leader, or has the leader do it.
func (d *Dispatcher) register(ctx context.Context, who Peer, req *api.SessionRequest) error {
	r := &api.RegisterRequest{NodeId: who.NodeID, Session: req, Role: who.Role}
	if d.deps.IsLeader() {
		_, err := d.registerHere(ctx, d.deps.NodeID, r)
		return err
	}
	l, err := d.leader(ctx)
	if err != nil {
		return err
	}
	_, err = l.Register(ctx, r)
	return err
}

// sessionEnded passes the hint on. The stream's context is over, so this has one of its own, and nobody waits for it.
func (d *Dispatcher) sessionEnded(nodeID string) {
	if d.deps.IsLeader() {
		d.lost(d.deps.NodeID, nodeID)
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if l, err := d.leader(ctx); err == nil {
			l.Register(ctx, &api.RegisterRequest{NodeId: nodeID, Ended: true}) // a hint: lost is lost
		}
	}()
}

// Register is how another manager passes on the session of one of its nodes.
func (d *Dispatcher) Register(ctx context.Context, r *api.RegisterRequest) (*api.RegisterResponse, error) {
	who, err := d.deps.Caller(ctx)
	if err != nil {
		return nil, err
	}
	if who.Role != api.NodeRole_MANAGER {
		return nil, status.Errorf(codes.PermissionDenied, "node %s is not a manager", who.NodeID)
	}
	if !d.deps.IsLeader() {
		return nil, status.Errorf(codes.Unavailable, "manager %s is not the leader", d.deps.NodeID)
	}
	if r.Ended {
		d.lost(who.NodeID, r.NodeId)
		return &api.RegisterResponse{}, nil
	}
	node, err := d.registerHere(ctx, who.NodeID, r)
	return &api.RegisterResponse{Node: node}, err
}

// registerHere writes what the node says of itself into its row, if it is news. manager holds the node's session.
func (d *Dispatcher) registerHere(ctx context.Context, manager string, r *api.RegisterRequest) (*api.Node, error) {
	if r.Session == nil {
		return nil, status.Errorf(codes.InvalidArgument, "node %s did not describe itself", r.NodeId)
	}
	d.present(manager, r.NodeId)
	now := time.Now()
	word := d.hear(now)
	var node *api.Node
	err := d.store.Update(ctx, func(tx *store.Tx) error {
		old := tx.Nodes().Get(r.NodeId)
		if old == nil {
			return status.Errorf(codes.NotFound, "node %s is not part of this cluster", r.NodeId)
		}
		state, _ := word.verdict(old, now, now)
		node = described(old, r)
		if state == api.NodeStatus_UNKNOWN || state == api.NodeStatus_READY {
			welcome(node, timestamppb.New(now))
		}
		if proto.Equal(old, node) {
			return nil
		}
		return tx.Nodes().Update(node)
	})
	if err != nil {
		return nil, err // node may yet be written to: the transaction can be on its way
	}
	return node, nil
}

// described returns a copy of old that says what the node says of itself. Who is a manager is written by those who keep
// the Raft group; a manager only brings its new address along.
func described(old *api.Node, r *api.RegisterRequest) *api.Node {
	n := proto.CloneOf(old)
	n.Description = r.Session.Description
	if addr := r.Session.ManagerStatus.GetAddr(); addr != "" && n.ManagerStatus != nil && r.Role == api.NodeRole_MANAGER {
		n.ManagerStatus = &api.ManagerStatus{Addr: addr}
	}
	if n.Status == nil {
		n.Status = &api.NodeStatus{}
	}
	n.Status.Addr, n.Status.DataPathAddr, n.Status.GossipPort = r.Session.Addr, r.Session.DataPathAddr, r.Session.GossipPort
	return n
}

// welcome says that a node is ready.
func welcome(n *api.Node, now *timestamppb.Timestamp) {
	if n.Status.State != api.NodeStatus_READY {
		n.Status.State, n.Status.Message, n.Status.Since = api.NodeStatus_READY, "", now
	}
}
