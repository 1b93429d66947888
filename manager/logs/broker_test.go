package logs

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// served is a broker behind a connection; the caller's name travels as metadata in place of a certificate.
type served struct {
	*Broker
	t     *testing.T
	store *store.Store
	conn  *grpc.ClientConn
}

// server offers the two calls of a Broker as the dispatcher does.
type server struct {
	api.UnimplementedDispatcherServer
	*Broker
}

func (s server) LogSubscriptions(r *api.LogSubscriptionsRequest, st grpc.ServerStreamingServer[api.LogSubscription]) error {
	return s.Broker.LogSubscriptions(r, st)
}

func (s server) PublishLogs(st grpc.ClientStreamingServer[api.PublishLogsMessage, api.PublishLogsResponse]) error {
	return s.Broker.PublishLogs(st)
}

func serve(t *testing.T) *served {
	s := &served{t: t, store: store.New(nil)}
	s.Broker = New(s.store, Deps{Caller: func(ctx context.Context) (string, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		return md.Get("node")[0], nil
	}})
	lis, srv := bufconn.Listen(1<<20), grpc.NewServer()
	api.RegisterDispatcherServer(srv, server{Broker: s.Broker})
	go srv.Serve(lis)
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient("passthrough:///broker", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return lis.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.conn = conn
	return s
}

func (s *served) node(id string, state api.NodeStatus_State) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx *store.Tx) error {
		return tx.Nodes().Create(&api.Node{Id: id, Description: &api.NodeDescription{Hostname: "host-" + id}, Status: &api.NodeStatus{State: state}})
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// agent answers every subscription with lines of a task, until ctx ends.
func (s *served) agent(ctx context.Context, node string, lines map[string][]string, done bool) (closed <-chan string) {
	ctx = metadata.AppendToOutgoingContext(ctx, "node", node)
	client := api.NewDispatcherClient(s.conn)
	stream, err := client.LogSubscriptions(ctx, &api.LogSubscriptionsRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	ends := make(chan string, 8)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			if m.Close {
				ends <- m.Id
				continue
			}
			out, _ := client.PublishLogs(ctx)
			for _, task := range m.TaskIds {
				for _, text := range lines[task] {
					out.Send(&api.PublishLogsMessage{SubscriptionId: m.Id, TaskId: task, Lines: []*api.LogLine{{Data: []byte(text)}}})
				}
				if done {
					out.Send(&api.PublishLogsMessage{SubscriptionId: m.Id, TaskId: task, Done: true})
				}
			}
		}
	}()
	return ends
}

func task(id, node string) *api.Task {
	return &api.Task{Id: id, ServiceId: "web", NodeId: node, Status: &api.TaskStatus{State: api.TaskState_RUNNING}}
}

// read collects lines and warnings until the channel is closed.
func read(t *testing.T, ch <-chan *api.ServiceLogsMessage) (lines, warnings string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case m, ok := <-ch:
			if !ok {
				return lines, warnings
			}
			for _, l := range m.Lines {
				lines += m.TaskId + ":" + string(l.Data) + " "
			}
			if m.Warning != "" {
				warnings += m.Warning + "\n"
			}
		case <-limit:
			t.Fatalf("the logs do not end; so far %q, %q", lines, warnings)
		}
	}
}

func TestLogsOfAllNodesThatAnswer(t *testing.T) {
	s := serve(t)
	s.node("w1", api.NodeStatus_READY)
	s.node("dead", api.NodeStatus_DOWN)
	s.node("mute", api.NodeStatus_READY)
	s.agent(t.Context(), "w1", map[string][]string{"t1": {"a", "b"}}, true)
	ch := s.Subscribe(t.Context(), []*api.Task{
		task("t1", "w1"), task("t2", "dead"), task("t3", "mute"), {Id: "pending", Status: &api.TaskStatus{State: api.TaskState_PENDING}},
	}, &api.LogOptions{Tail: -1})
	lines, warnings := read(t, ch)
	if lines != "t1:a t1:b " {
		t.Errorf("lines are %q", lines)
	}
	for _, want := range []string{"logs of task t2 are missing: node host-dead is down\n", "logs of task t3 are missing: node host-mute does not answer\n"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("warnings are %q, want %q among them", warnings, want)
		}
	}
}

func TestDeadNodeIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &served{t: t, store: store.New(nil)}
		s.Broker = New(s.store, Deps{})
		for name, patience := range map[string]time.Duration{"dead": 0, "mute": answerIn} {
			s.node(name, map[string]api.NodeStatus_State{"dead": api.NodeStatus_DOWN, "mute": api.NodeStatus_READY}[name])
			began := time.Now()
			_, warnings := read(t, s.Subscribe(t.Context(), []*api.Task{task("t1", name)}, nil))
			if took := time.Since(began); warnings == "" || took != patience {
				t.Errorf("warnings %q after %v, want them after %v", warnings, took, patience)
			}
		}
	})
}

func TestFollowEndsWithItsReader(t *testing.T) {
	s := serve(t)
	s.node("w1", api.NodeStatus_READY)
	closed := s.agent(t.Context(), "w1", map[string][]string{"t1": {"a"}}, false)
	ctx, cancel := context.WithCancel(t.Context())
	ch := s.Subscribe(ctx, []*api.Task{task("t1", "w1")}, &api.LogOptions{Follow: true, Tail: -1})
	if m := <-ch; string(m.Lines[0].Data) != "a" {
		t.Errorf("first message is %v", m)
	}
	cancel()
	read(t, ch)
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Error("the node was not told that nobody listens any more")
	}
}

func TestFollowingAServiceFindsNewTasks(t *testing.T) {
	s := serve(t)
	s.node("w1", api.NodeStatus_READY)
	s.agent(t.Context(), "w1", map[string][]string{"t1": {"a"}, "t2": {"b"}}, false)
	add := func(id string) {
		if err := s.store.Update(t.Context(), func(tx *store.Tx) error { return tx.Tasks().Create(task(id, "w1")) }); err != nil {
			t.Fatal(err)
		}
	}
	add("t1")
	ch := s.SubscribeService(t.Context(), "web", &api.LogOptions{Follow: true, Tail: -1})
	if m := <-ch; m.TaskId != "t1" {
		t.Errorf("first message is %v", m)
	}
	add("t2")
	if m := <-ch; m.TaskId != "t2" {
		t.Errorf("second message is %v", m)
	}
}

func TestNodeMaySpeakForItsOwnTasksOnly(t *testing.T) {
	s := serve(t)
	s.node("w1", api.NodeStatus_READY)
	sub := s.open(&api.LogOptions{Follow: true})
	s.add(sub, []*api.Task{task("t1", "w1")})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "node", "w2")
	stream, err := api.NewDispatcherClient(s.conn).PublishLogs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&api.PublishLogsMessage{SubscriptionId: sub.id, TaskId: "t1", Lines: []*api.LogLine{{Data: []byte("x")}}})
	if _, err := stream.CloseAndRecv(); err == nil || !strings.Contains(err.Error(), "does not run on node w2") {
		t.Errorf("got %v", err)
	}
}
