// Package manager is a manager of the cluster: the one place where store, Raft, CA, control, dispatcher and the
// leader's loops are put together.
//
// Manager has one port, shared by gRPC and Raft (listener.go). Every request is checked against one table of who
// may call what (auth.go), and carried to the leader if only the leader can answer it (forward.go). What the
// leader does beside answering is a list of loops (leader.go). Init makes a new cluster.
//
// It runs no containers and knows nothing of agents but what they say over the wire: node joins the two.
package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/manager/control"
	"github.com/shoal-dev/shoal/manager/dispatcher"
	"github.com/shoal-dev/shoal/manager/logs"
	"github.com/shoal-dev/shoal/manager/raft"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// ErrNotManager ends Run when this node's certificate no longer makes it a manager.
var ErrNotManager = errors.New("this node is not a manager any more")

// Config is what a Manager needs.
type Config struct {
	Dir      string // the manager's own, below the data directory
	Identity *identity.Identity

	ListenAddr    string       // HOST:PORT to listen on
	Listener      net.Listener // instead of ListenAddr
	AdvertiseAddr string       // HOST:PORT where other nodes reach this one

	// Managers are HOST:PORT of managers through which to become one, if this node is not one yet.
	Managers []string
	// ForceNewCluster makes this the only manager, keeping all it knows.
	ForceNewCluster bool

	Liveness dispatcher.Liveness // gossip's word; nil: only sessions tell
	// CheckSettings refuses a service whose container no node could make; nil: that is left to the nodes.
	CheckSettings func(*api.ServiceSpec) error
	Logger        *slog.Logger
	// RaftTick scales Raft's timeouts; 0 is the default.
	RaftTick time.Duration

	dial dialer // for tests that cut cables; nil: TCP
}

// Manager is one member of the group that keeps the cluster.
type Manager struct {
	cfg        Config
	log        *slog.Logger
	listener   *listener
	store      *store.Store
	raft       *raft.Node
	grpc       *grpc.Server
	open       *grpc.Server // for those who have no certificate yet
	control    *control.Server
	dispatcher *dispatcher.Dispatcher
	logs       *logs.Broker
	ca         *ca.Server
	rules      map[string]rule
	forced     atomic.Bool // a new cluster was forced, and the managers of before are still to be forgotten

	mu      sync.Mutex
	conn    *leaderConn
	joinErr error // why this manager is not a member yet
	// joinErrs is what was said of it, by the address asked: once is enough.
	joinErrs map[string]string
}

// New opens the manager's state and its port. Run does the rest, and closes both.
func New(cfg Config) (*Manager, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := cfg.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", cfg.ListenAddr); err != nil {
			return nil, fmt.Errorf("listen on the cluster port: %w", err)
		}
	}
	if cfg.dial == nil {
		cfg.dial = dialTCP
	}
	m := &Manager{cfg: cfg, log: cfg.Logger, rules: rules()}
	m.forced.Store(cfg.ForceNewCluster)
	m.listener = newListener(l, cfg.Identity, m.mayRaft, cfg.Logger)
	node, err := raft.New(raft.Config{
		Dir: raftDir(cfg.Dir), ID: cfg.Identity.NodeID(), Addr: cfg.AdvertiseAddr, Logger: cfg.Logger,
		Listener: m.listener.raft, Dial: m.dialRaft, Tick: cfg.RaftTick,
	})
	if err != nil {
		l.Close()
		return nil, err
	}
	m.raft = node
	m.store = store.New(node)
	m.services()
	return m, nil
}

func raftDir(dir string) string { return filepath.Join(dir, "raft") }

// services makes what answers requests.
func (m *Manager) services() {
	m.logs = logs.New(m.store, logs.Deps{Caller: m.nodeCaller, Logger: m.log})
	m.dispatcher = dispatcher.New(m.store, dispatcher.Deps{
		NodeID: m.cfg.Identity.NodeID(), Caller: m.dispatcherCaller, IsLeader: m.raft.IsLeader, LeaderID: m.leaderID,
		Leader: m.leaderClient, Logs: m.logs, Liveness: m.cfg.Liveness, Logger: m.log,
	})
	m.control = control.New(m.store, control.Deps{
		Logs: logSource{m.logs}, Members: m.members, NewToken: ca.NewToken, CheckSettings: m.cfg.CheckSettings, Logger: m.log,
	})
	m.ca = ca.New(m.store, ca.Deps{Caller: callerID, IsMember: m.raft.IsMember, Logger: m.log})
	m.grpc = grpc.NewServer(
		grpc.Creds(handshaken{}),
		grpc.ChainUnaryInterceptor(m.UnaryInterceptor),
		grpc.ChainStreamInterceptor(m.StreamInterceptor),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 5 * time.Second, Timeout: 3 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 500 * time.Millisecond, PermitWithoutStream: true}),
	)
	m.Register(m.grpc)
	// Whoever reaches the port may ask to be let in. That takes a kilobyte, and must not take this manager's memory.
	m.open = grpc.NewServer(
		grpc.Creds(handshaken{}),
		grpc.ChainUnaryInterceptor(m.UnaryInterceptor),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return needsCertificate() }),
		grpc.MaxRecvMsgSize(maxStranger), grpc.MaxConcurrentStreams(strangerCalls), grpc.MaxHeaderListSize(maxStranger),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: strangerAge, MaxConnectionAgeGrace: strangerAge}),
	)
	api.RegisterCAServer(m.open, m.ca)
}

// What somebody without a certificate may use: bytes of a message or of all headers, calls at a time on a connection, and
// how long that lasts.
const (
	maxStranger   = 64 << 10
	strangerCalls = 4
	strangerAge   = 30 * time.Second
)

// maxMessage bounds a request; a node's complete set of assignments is the largest message.
const maxMessage = 64 << 20

// Register adds the manager's services to a server, which must use the manager's interceptors. A caller
// without TLS is local, and may do everything.
func (m *Manager) Register(s *grpc.Server) {
	api.RegisterControlServer(s, m.control)
	api.RegisterDispatcherServer(s, m.dispatcher)
	api.RegisterCAServer(s, m.ca)
	api.RegisterMembershipServer(s, membership{m: m})
}

// Store is this manager's replica.
func (m *Manager) Store() *store.Store { return m.store }

// Issue asks for a new certificate for this node itself; it is for a ca.Renewer. A manager that has left the group
// hears of no leader any more, or is told that it may not pass requests on, and asks the others as a worker would.
func (m *Manager) Issue(ctx context.Context, r *api.IssueRequest) (resp *api.IssueResponse, err error) {
	if !m.raft.Started() {
		return nil, status.Error(codes.Unavailable, "this manager is starting: try again in a moment")
	}
	err = status.Error(codes.Unavailable, "no manager answers")
	if m.leaderID() != "" {
		if resp, err = m.issueHere(ctx, r); status.Code(err) != codes.Unavailable && status.Code(err) != codes.PermissionDenied {
			return resp, err
		}
	}
	for _, addr := range m.otherManagers() {
		if resp, err = m.issueThrough(ctx, addr, r); status.Code(err) != codes.Unavailable {
			return resp, err
		}
	}
	return nil, err
}

func (m *Manager) issueHere(ctx context.Context, r *api.IssueRequest) (*api.IssueResponse, error) {
	ctx = withCaller(ctx, caller{kind: callerNode, node: m.cfg.Identity.NodeID(), role: identity.Manager})
	resp, err := m.toLeader(ctx, api.CA_Issue_FullMethodName, r, func(ctx context.Context, req any) (any, error) {
		return m.ca.Issue(ctx, req.(*api.IssueRequest))
	})
	if err != nil {
		return nil, err
	}
	return resp.(*api.IssueResponse), nil
}

func (m *Manager) issueThrough(ctx context.Context, addr string, r *api.IssueRequest) (*api.IssueResponse, error) {
	conn, err := m.dialManager(addr, m.cfg.Identity.ClientTLS("", protoGRPC))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return api.NewCAClient(conn).Issue(ctx, r)
}

func (m *Manager) otherManagers() (addrs []string) {
	m.store.View(func(tx *store.Tx) {
		for n := range tx.Nodes().All() {
			if a := n.GetManagerStatus().GetAddr(); a != "" && n.Id != m.cfg.Identity.NodeID() {
				addrs = append(addrs, a)
			}
		}
	})
	return addrs
}

// Run is the manager's life. It ends with ctx, with ErrNotManager after a demotion, or with what broke.
func (m *Manager) Run(ctx context.Context) error {
	defer m.close()
	if m.cfg.ForceNewCluster {
		if err := m.raft.ForceNew(); err != nil {
			return err
		}
	}
	if err := m.raft.Start(m.store); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.listener.run(ctx) })
	g.Go(func() error { return serve(ctx, m.grpc, m.listener.grpc) })
	g.Go(func() error { return serve(ctx, m.open, m.listener.open) })
	g.Go(func() error { return m.join(ctx) })
	g.Go(func() error { return m.learnAddresses(ctx) })
	g.Go(func() error { return m.dropOldLeader(ctx) })
	g.Go(func() error { return m.watchRole(ctx) })
	g.Go(func() error { return m.lead(ctx) })
	return g.Wait()
}

func serve(ctx context.Context, s *grpc.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the cluster port: %w", err)
	}
	return ctx.Err()
}

// close leaves in order: a leader hands over first, so that nobody waits for a timeout.
func (m *Manager) close() {
	if m.raft.Started() && m.raft.IsLeader() && len(m.raft.Status().Voters()) > 1 {
		if err := m.raft.Transfer(); err != nil {
			m.log.Debug("leadership was not handed over", "error", err)
		}
	}
	m.grpc.Stop()
	m.open.Stop()
	m.listener.Close()
	m.dropConn("")
	if err := m.raft.Close(); err != nil {
		m.log.Warn("closing raft failed", "error", err)
	}
}

// watchRole ends the manager when its certificate says worker.
func (m *Manager) watchRole(ctx context.Context) error {
	for {
		changed := m.cfg.Identity.Changed()
		if m.cfg.Identity.Role() != identity.Manager {
			return ErrNotManager
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// learnAddresses keeps the addresses of the other managers on disk, for a start without a leader.
func (m *Manager) learnAddresses(ctx context.Context) error {
	return m.store.Follow(ctx, store.FollowOptions{Kinds: []string{store.KindNode}}, func(tx *store.Tx, _ []store.Event) error {
		for n := range tx.Nodes().All() {
			if addr := n.GetManagerStatus().GetAddr(); addr != "" {
				if err := m.raft.SetPeer(n.Id, addr); err != nil {
					m.log.Warn("remembering a manager's address failed", "node", n.Id, "error", err)
				}
			}
		}
		return nil
	})
}

func (m *Manager) leaderID() string {
	id, _ := m.raft.Leader()
	return id
}

// members is who leads and who answers. Only the leader knows of all; a follower vouches for itself and the leader.
func (m *Manager) members() (leader string, reachable, learning map[string]bool) {
	st := m.raft.Status()
	reachable, learning = map[string]bool{}, map[string]bool{}
	down := map[string]bool{}
	if m.cfg.Liveness != nil {
		down = m.cfg.Liveness.Down()
	}
	self := m.cfg.Identity.NodeID()
	for _, member := range st.Members {
		known := st.Leader == self || member.ID == st.Leader || member.ID == self
		reachable[member.ID] = known && member.Reachable && !down[member.ID]
		learning[member.ID] = !member.Voter
	}
	return st.Leader, reachable, learning
}

// logSource gives control the broker's channel.
type logSource struct{ broker *logs.Broker }

func (l logSource) Subscribe(ctx context.Context, tasks []*api.Task, o *api.LogOptions) (<-chan *api.ServiceLogsMessage, error) {
	return l.broker.Subscribe(ctx, tasks, o), nil
}

func (l logSource) SubscribeService(ctx context.Context, serviceID string, o *api.LogOptions) (<-chan *api.ServiceLogsMessage, error) {
	return l.broker.SubscribeService(ctx, serviceID, o), nil
}
