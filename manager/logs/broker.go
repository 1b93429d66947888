// Package logs brings the logs of tasks from the nodes that run them to the client that asks.
//
// Every agent keeps a subscription stream open to every manager it knows, so the manager that a client happens to
// talk to can ask any node by itself. A Broker sends a node the tasks wanted of it; the node answers each
// subscription with one PublishLogs stream. An answer may be partial: a node that is down or silent gives a
// warning, never an error. The broker keeps no logs and decodes none.
package logs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// answerIn is how long a node may take to open or reopen its stream before its logs count as missing.
const answerIn = 2 * time.Second

// Deps are what a Broker needs of its manager.
type Deps struct {
	Caller func(ctx context.Context) (nodeID string, err error) // of the peer's certificate
	Logger *slog.Logger
}

// Broker joins clients that want logs (Subscribe) and nodes that have them (LogSubscriptions, PublishLogs).
// All methods may be called concurrently.
type Broker struct {
	store *store.Store
	deps  Deps

	mu    sync.Mutex
	nodes map[string]*nodeStream // by node ID: the newest stream of each
	subs  map[string]*subscription
}

// New returns a Broker without connections.
func New(s *store.Store, deps Deps) *Broker {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Broker{store: s, deps: deps, nodes: map[string]*nodeStream{}, subs: map[string]*subscription{}}
}

// nodeStream is what a node shall be sent. The queue is unbounded in theory; it holds two small messages a client.
type nodeStream struct {
	queue []*api.LogSubscription
	ready chan struct{} // buffered by one: look at the queue
}

func (n *nodeStream) push(m *api.LogSubscription) {
	n.queue = append(n.queue, m)
	select {
	case n.ready <- struct{}{}:
	default:
	}
}

// Subscribe returns the logs of tasks as they arrive. The channel is closed when ctx ends or, without Follow, when
// all logs have ended. A slow reader slows the nodes down.
func (b *Broker) Subscribe(ctx context.Context, tasks []*api.Task, options *api.LogOptions) <-chan *api.ServiceLogsMessage {
	s := b.open(options)
	go func() {
		defer b.close(s)
		b.add(s, tasks)
		s.wait(ctx, b)
	}()
	return s.out
}

// SubscribeService is Subscribe for all tasks of a service, also those that appear while it follows.
func (b *Broker) SubscribeService(ctx context.Context, serviceID string, options *api.LogOptions) <-chan *api.ServiceLogsMessage {
	s := b.open(options)
	go func() {
		defer b.close(s)
		if options.GetFollow() {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go b.store.Follow(ctx, store.FollowOptions{Kinds: []string{store.KindTask}, Debounce: 50 * time.Millisecond},
				func(tx *store.Tx, _ []store.Event) error {
					b.add(s, tx.Tasks().List(store.ByService(serviceID)))
					return nil
				})
			s.wait(ctx, b)
			return
		}
		b.store.View(func(tx *store.Tx) { b.add(s, tx.Tasks().List(store.ByService(serviceID))) })
		s.wait(ctx, b)
	}()
	return s.out
}

// Subscriptions is how many clients are being served.
func (b *Broker) Subscriptions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

func (b *Broker) open(options *api.LogOptions) *subscription {
	s := newSubscription(id.New(), options)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[s.id] = s
	return s
}

func (b *Broker) close(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s.id)
	for node := range s.nodes() {
		if n := b.nodes[node]; n != nil {
			n.push(&api.LogSubscription{Id: s.id, Close: true})
		}
	}
	s.end()
}

// add asks the nodes of tasks that are new to the subscription.
func (b *Broker) add(s *subscription, tasks []*api.Task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs[s.id] == nil {
		return // closed meanwhile
	}
	asks := map[string][]string{}
	for _, t := range tasks {
		if t.Status.GetState() >= api.TaskState_ASSIGNED && t.NodeId != "" && s.expect(t.Id, t.NodeId) {
			asks[t.NodeId] = append(asks[t.NodeId], t.Id)
		}
	}
	for node, ids := range asks {
		if n := b.nodes[node]; n != nil {
			n.push(&api.LogSubscription{Id: s.id, TaskIds: ids, Options: s.options})
		}
	}
}

// LogSubscriptions tells a node what is wanted of it, from the moment it connects until it leaves.
func (b *Broker) LogSubscriptions(_ *api.LogSubscriptionsRequest, stream grpc.ServerStreamingServer[api.LogSubscription]) error {
	ctx := stream.Context()
	node, err := b.deps.Caller(ctx)
	if err != nil {
		return err
	}
	n := b.connect(node)
	defer b.disconnect(node, n)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ready:
		}
		b.mu.Lock()
		queue := n.queue
		n.queue = nil
		b.mu.Unlock()
		for _, m := range queue {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}

func (b *Broker) connect(node string) *nodeStream {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := &nodeStream{ready: make(chan struct{}, 1)}
	b.nodes[node] = n
	for _, s := range b.subs {
		for _, m := range s.askAgain(node) {
			n.push(m)
		}
	}
	return n
}

func (b *Broker) disconnect(node string, n *nodeStream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes[node] != n {
		return // it has connected again meanwhile
	}
	delete(b.nodes, node)
	for _, s := range b.subs {
		s.gone(node)
	}
}

// PublishLogs takes a node's answer to one subscription. It ends with an error when nobody wants it any more.
func (b *Broker) PublishLogs(stream grpc.ClientStreamingServer[api.PublishLogsMessage, api.PublishLogsResponse]) error {
	ctx := stream.Context()
	node, err := b.deps.Caller(ctx)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return stream.SendAndClose(&api.PublishLogsResponse{})
		}
		b.mu.Lock()
		s := b.subs[m.SubscriptionId]
		b.mu.Unlock()
		if s == nil {
			return status.Errorf(codes.NotFound, "log subscription %s has ended", m.SubscriptionId)
		}
		if err := s.publish(ctx, node, m); err != nil {
			return err
		}
	}
}

// connected tells whether a node has a stream open, and whether its row says that it is there.
func (b *Broker) connected(node string) (connected bool, name string, down bool) {
	b.mu.Lock()
	connected = b.nodes[node] != nil
	b.mu.Unlock()
	b.store.View(func(tx *store.Tx) {
		n := tx.Nodes().Get(node)
		if name = n.GetDescription().GetHostname(); name == "" {
			name = node
		}
		down = n == nil || n.Status.GetState() == api.NodeStatus_DOWN
	})
	return connected, name, down
}
