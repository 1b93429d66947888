package dispatcher

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// cluster is one store served by two dispatchers, of which the first leads. The caller's name travels as metadata
// in place of a certificate: "m1" and "m2" are managers, others workers.
type cluster struct {
	t       *testing.T
	store   *store.Store
	leaders atomic.Value // ID of the leader
	d       map[string]*Dispatcher
	lis     map[string]*bufconn.Listener
}

func newCluster(t *testing.T, live Liveness) *cluster {
	c := &cluster{t: t, store: store.New(nil), d: map[string]*Dispatcher{}, lis: map[string]*bufconn.Listener{}}
	c.leaders.Store("m1")
	for _, id := range []string{"m1", "m2"} {
		c.serve(id, live)
	}
	return c
}

func (c *cluster) leader() string { return c.leaders.Load().(string) }

func (c *cluster) serve(id string, live Liveness) {
	d := New(c.store, Deps{
		NodeID:   id,
		Caller:   callerOf,
		IsLeader: func() bool { return c.leader() == id },
		LeaderID: c.leader,
		Leader: func(context.Context) (grpc.ClientConnInterface, error) {
			return c.dial(c.leader(), id), nil
		},
		Liveness: live,
	})
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer()
	api.RegisterDispatcherServer(srv, d)
	go srv.Serve(lis)
	c.t.Cleanup(srv.Stop)
	c.d[id], c.lis[id] = d, lis
}

func callerOf(ctx context.Context) (Peer, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	p := Peer{NodeID: md.Get("node")[0]}
	if p.NodeID == "m1" || p.NodeID == "m2" {
		p.Role = api.NodeRole_MANAGER
	}
	return p, nil
}

// dial connects a node to a manager.
func (c *cluster) dial(manager, node string) *grpc.ClientConn {
	as := func(ctx context.Context) context.Context { return metadata.AppendToOutgoingContext(ctx, "node", node) }
	conn, err := grpc.NewClient("passthrough:///"+manager,
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return c.lis[manager].Dial() }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, m string, req, reply any, cc *grpc.ClientConn, inv grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return inv(as(ctx), m, req, reply, cc, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, s grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return s(as(ctx), d, cc, m, o...)
		}))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

func (c *cluster) client(manager, node string) api.DispatcherClient {
	return api.NewDispatcherClient(c.dial(manager, node))
}

// write runs one transaction that must succeed.
func (c *cluster) write(fn func(tx *store.Tx) error) {
	c.t.Helper()
	if err := c.store.Update(c.t.Context(), fn); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) task(id string) (t *api.Task) {
	c.store.View(func(tx *store.Tx) { t = tx.Tasks().Get(id) })
	return t
}
