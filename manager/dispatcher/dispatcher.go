// Package dispatcher is what agents talk to: it tells each node what to do and writes down what it reports.
//
// Every manager runs one and serves it from its own replica, so load spreads and a new leader does not mean new
// streams. Three parts: sessions (who is there, see session.go), assignments (what a node should be told against what
// it was told, see assignment.go) and reports (task status, see status.go). Writes go to the leader. Run, on the
// leader only, turns gossip's word and lost sessions into the status of node rows.
//
// It decides nothing: where tasks run, when they are replaced and what becomes of a lost node's tasks is the
// orchestrator's and placement's.
package dispatcher

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Peer is the node at the other end of a call, as its certificate names it.
type Peer struct {
	NodeID string
	Role   api.NodeRole
}

// Liveness is gossip's word on the nodes of the cluster. *gossip.Pool is one.
type Liveness interface {
	Down() map[string]bool    // nodes that were members and no longer answer
	Members() []string        // nodes that answer
	Changed() <-chan struct{} // closed at the next change of Down
}

// LogServer serves the two log calls of the Dispatcher service. *logs.Broker is one.
type LogServer interface {
	LogSubscriptions(*api.LogSubscriptionsRequest, grpc.ServerStreamingServer[api.LogSubscription]) error
	PublishLogs(grpc.ClientStreamingServer[api.PublishLogsMessage, api.PublishLogsResponse]) error
}

// Deps are what a Dispatcher needs of its manager.
type Deps struct {
	NodeID   string                                                  // this manager's own
	Caller   func(ctx context.Context) (Peer, error)                 // from the peer's certificate; see FromTLS
	IsLeader func() bool                                             // may writes be made here?
	LeaderID func() string                                           // "" if unknown
	Leader   func(context.Context) (grpc.ClientConnInterface, error) // connection to the leader, used when IsLeader says no
	Logs     LogServer
	Liveness Liveness // nil: only sessions tell
	Logger   *slog.Logger
}

// Dispatcher implements api.DispatcherServer. All methods may be called concurrently.
type Dispatcher struct {
	api.UnimplementedDispatcherServer
	deps  Deps
	store *store.Store
	log   *slog.Logger

	endpoints *endpoints // shared by all assignments

	mu    sync.Mutex
	signs map[string]signs // by node, what sessions say; see liveness.go
	wake  chan struct{}    // buffered by one: Run should look again
}

// New returns a Dispatcher that serves at once. Run is needed on the leader only.
func New(s *store.Store, deps Deps) *Dispatcher {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Caller == nil {
		deps.Caller = FromTLS
	}
	return &Dispatcher{
		deps: deps, store: s, log: deps.Logger, endpoints: newEndpoints(),
		signs: map[string]signs{}, wake: make(chan struct{}, 1),
	}
}

// LogSubscriptions and PublishLogs are the logs broker's.
func (d *Dispatcher) LogSubscriptions(r *api.LogSubscriptionsRequest, s grpc.ServerStreamingServer[api.LogSubscription]) error {
	return d.deps.Logs.LogSubscriptions(r, s)
}

// PublishLogs is the logs broker's.
func (d *Dispatcher) PublishLogs(s grpc.ClientStreamingServer[api.PublishLogsMessage, api.PublishLogsResponse]) error {
	return d.deps.Logs.PublishLogs(s)
}

// leader returns a client of the leader's dispatcher.
func (d *Dispatcher) leader(ctx context.Context) (api.DispatcherClient, error) {
	conn, err := d.deps.Leader(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "no leader to write to: %v", err)
	}
	return api.NewDispatcherClient(conn), nil
}

// onBehalf returns the node that a forwarding manager speaks for: named if the caller is another manager that
// names one, else the caller itself.
func onBehalf(who Peer, named string) (string, error) {
	if named == "" || named == who.NodeID {
		return who.NodeID, nil
	}
	if who.Role != api.NodeRole_MANAGER {
		return "", status.Errorf(codes.PermissionDenied, "node %s may not speak for node %s", who.NodeID, named)
	}
	return named, nil
}

// nudge wakes Run.
func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

const (
	heartbeat     = 500 * time.Millisecond
	debounce      = 4 * time.Millisecond
	leaderCheck   = time.Second            // how soon a session tells of a new leader
	registerRetry = 200 * time.Millisecond // while there is no leader
	registerAgain = officeGrace / 2        // with the same leader: it may have been restarted
	leaderless    = 5 * time.Second
)
