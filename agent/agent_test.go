//go:build linux

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/manager/dispatcher"
	"github.com/shoal-dev/shoal/manager/logs"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// world is managers m1 (leading) and m2 over one store, and a node w1 with its engine and overlay.
type world struct {
	t       *testing.T
	dir     string
	store   *store.Store
	engine  *fakeEngine
	overlay *fakeOverlay
	brokers map[string]*logs.Broker
	servers map[string]*grpc.Server
	refuse  atomic.Bool // managers take no reports
	node    string
	silence time.Duration // how long the agent bears one of managers
	dials   atomic.Int32
	refused atomic.Int32 // how often managers did not know this node
	sure    atomic.Bool  // it takes itself for removed

	mu  sync.Mutex
	lis map[string]*bufconn.Listener
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), store: store.New(nil), engine: newFakeEngine("web:1"), overlay: newFakeOverlay(),
		brokers: map[string]*logs.Broker{}, servers: map[string]*grpc.Server{}, lis: map[string]*bufconn.Listener{}, node: "w1"}
	w.write(func(tx *store.Tx) error {
		for _, id := range []string{"m1", "m2", "w1"} {
			n := &api.Node{Id: id, Spec: &api.NodeSpec{}, Status: &api.NodeStatus{DataPathAddr: "192.0.2.1"}, GatewaySubnets: []string{"10.112.4.0/22"}}
			if id != "w1" {
				n.ManagerStatus = &api.ManagerStatus{Addr: id}
				n.Role = api.NodeRole_MANAGER
			}
			if err := tx.Nodes().Create(n); err != nil {
				return err
			}
		}
		if err := tx.Networks().Create(&api.Network{Id: "net1", Spec: &api.NetworkSpec{Name: "app"}, Vni: 4097,
			Ipam: []*api.IPAMConfig{{Subnet: "10.96.0.0/22", Gateway: "10.96.0.1"}}}); err != nil {
			return err
		}
		return nil
	})
	w.revision(1, &api.ContainerSpec{Image: "web:1", Hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.Hostname}}", Env: []string{"ID={{.Task.ID}}"}})
	w.serve("m1")
	w.serve("m2")
	return w
}

func (w *world) revision(number uint64, c *api.ContainerSpec) {
	w.write(func(tx *store.Tx) error {
		return tx.Revisions().Create(&api.Revision{Id: fmt.Sprint("web.", number), ServiceId: "web", Number: number, Spec: &api.ServiceSpec{Container: c}})
	})
}

func (w *world) serve(id string) {
	w.serveAs(id, func() bool { return id == "m1" && !w.refuse.Load() })
}

func (w *world) serveAs(id string, leads func() bool) {
	caller := func(ctx context.Context) (dispatcher.Peer, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		p := dispatcher.Peer{NodeID: md.Get("node")[0]}
		if p.NodeID[0] == 'm' {
			p.Role = api.NodeRole_MANAGER
		}
		return p, nil
	}
	broker := logs.New(w.store, logs.Deps{Caller: func(ctx context.Context) (string, error) {
		p, err := caller(ctx)
		return p.NodeID, err
	}})
	d := dispatcher.New(w.store, dispatcher.Deps{
		NodeID: id, Caller: caller, Logs: broker,
		IsLeader: leads,
		LeaderID: func() string { return "m1" },
		Leader: func(ctx context.Context) (grpc.ClientConnInterface, error) {
			if w.refuse.Load() {
				return nil, fmt.Errorf("no leader")
			}
			return w.dial(ctx, "m1", id)
		},
	})
	srv := grpc.NewServer()
	api.RegisterDispatcherServer(srv, d)
	lis := bufconn.Listen(1 << 20)
	w.mu.Lock()
	w.lis[id], w.servers[id], w.brokers[id] = lis, srv, broker
	w.mu.Unlock()
	go srv.Serve(lis)
	w.t.Cleanup(srv.Stop)
}

func (w *world) dial(_ context.Context, manager, node string) (*grpc.ClientConn, error) {
	as := func(ctx context.Context) context.Context { return metadata.AppendToOutgoingContext(ctx, "node", node) }
	conn, err := grpc.NewClient("passthrough:///"+manager,
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.lis[manager].Dial()
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, m string, req, reply any, cc *grpc.ClientConn, inv grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return inv(as(ctx), m, req, reply, cc, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, s grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return s(as(ctx), d, cc, m, o...)
		}))
	if err == nil {
		w.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// daemon runs the node's agent and returns what ends it.
func (w *world) daemon(managers ...string) (*Agent, func()) {
	w.t.Helper()
	a, err := New(Config{
		Dir: w.dir, NodeID: w.node, Managers: managers, Engine: w.engine, Overlay: w.overlay,
		Dial: func(ctx context.Context, addr string) (*grpc.ClientConn, error) {
			w.dials.Add(1)
			return w.dial(ctx, addr, w.node)
		},
		Description: func() *api.NodeDescription { return &api.NodeDescription{Hostname: "hosty"} },
		OnRemoved:   func(_ error, sure bool) { w.sure.Store(sure); w.refused.Add(1) }, RemovedAfter: 200 * time.Millisecond,
		Logger:  slog.New(slog.NewTextHandler(testWriter{w.t}, nil)),
		silence: w.silence,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	var once sync.Once
	end := func() { once.Do(func() { cancel(); <-done }) }
	w.t.Cleanup(end)
	return a, end
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *world) write(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) assign(id string, change ...func(*api.Task)) {
	w.t.Helper()
	t := &api.Task{
		Id: id, ServiceId: "web", ServiceName: "web", Revision: 1, Slot: 3, NodeId: "w1",
		DesiredState: api.TaskState_RUNNING, Status: &api.TaskStatus{State: api.TaskState_ASSIGNED},
		Networks:         []*api.NetworkAttachment{{NetworkId: "net1", Addresses: []string{"10.96.0.9/22"}}},
		GatewayAddresses: []string{"10.112.4.9/22"},
		HostPorts:        []*api.PortConfig{{TargetPort: 80, PublishedPort: 8081}},
	}
	for _, c := range change {
		c(t)
	}
	w.write(func(tx *store.Tx) error { return tx.Tasks().Create(t) })
}

func (w *world) want(id string, desired api.TaskState) {
	w.t.Helper()
	w.write(func(tx *store.Tx) error {
		t := proto.CloneOf(tx.Tasks().Get(id))
		t.DesiredState = desired
		return tx.Tasks().Update(t)
	})
}

func (w *world) task(id string) (t *api.Task) {
	w.store.View(func(tx *store.Tx) { t = tx.Tasks().Get(id) })
	return t
}

func (w *world) until(id string, s api.TaskState) *api.Task {
	w.t.Helper()
	w.eventually(fmt.Sprintf("task %s %v", id, s), func() bool { return w.task(id).Status.State == s })
	return w.task(id)
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	if !poll.Until(time.Minute, ok) {
		w.t.Fatalf("did not happen: %s", what)
	}
}

func TestTaskRunsAndStops(t *testing.T) {
	w := newWorld(t)
	w.daemon("m1")
	w.assign("t1")
	task := w.until("t1", api.TaskState_RUNNING)
	c := w.engine.of("t1")
	if c.Name != "web.3.t1" || c.Spec.Hostname != "web-3-hosty" || c.Spec.Env[0] != "ID=t1" || c.NetworkMode != "external" {
		t.Errorf("container is %v", c)
	}
	if got := c.Spec.Dns.Nameservers; len(got) != 1 || got[0] != "10.96.0.1" {
		t.Errorf("nameservers are %v", got)
	}
	if c.Spec.Labels["shoal.service.name"] != "web" || c.Spec.Labels["shoal.task.name"] != "web.3.t1" {
		t.Errorf("labels are %v", c.Spec.Labels)
	}
	if task.Status.Container.ContainerId != c.Id || task.Status.Ports[0].HostPort != 8081 {
		t.Errorf("status is %v", task.Status)
	}
	a, ok := w.overlay.wired(c.Id)
	if !ok || a.NetNS != "/netns/t1" || a.Networks[0].Addrs[0].String() != "10.96.0.9" || a.HostPorts[0].Host != 8081 || a.Gateway[0].String() != "10.112.4.9/22" {
		t.Errorf("attachment is %+v", a)
	}
	w.eventually("the overlay knows the endpoint as ready", func() bool {
		w.overlay.mu.Lock()
		defer w.overlay.mu.Unlock()
		e := w.overlay.desired.Endpoints
		return len(e) == 1 && e[0].Ready && len(w.overlay.desired.Networks) == 1
	})

	w.want("t1", api.TaskState_SHUTDOWN)
	task = w.until("t1", api.TaskState_SHUTDOWN)
	if _, ok := w.overlay.wired(c.Id); ok || w.engine.of("t1") == nil || task.Status.Container.ExitCode != 143 {
		t.Error("a stopped task must be off its network, its container kept")
	}
	w.write(func(tx *store.Tx) error { return tx.Tasks().Delete("t1") })
	w.eventually("container gone", func() bool { return w.engine.of("t1") == nil })
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.daemon("m1")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	w.want("t1", api.TaskState_REMOVE)
	w.until("t1", api.TaskState_SHUTDOWN)
	w.eventually("container gone while the row is there", func() bool { return w.engine.of("t1") == nil })
}

func TestFailuresSayWhy(t *testing.T) {
	w := newWorld(t)
	w.revision(2, &api.ContainerSpec{Image: "missing:1"})
	w.revision(3, &api.ContainerSpec{Image: "web:1", Hostname: "{{.Nope}}"})
	w.daemon("m1")
	w.assign("image", func(t *api.Task) { t.Revision = 2 })
	w.assign("template", func(t *api.Task) { t.Revision = 3 })
	w.assign("exit")
	if got := w.until("image", api.TaskState_REJECTED).Status.Err; got != "image missing:1 is not on this node and pulling it failed: no route to registry" {
		t.Errorf("reason is %q", got)
	}
	if got := w.until("template", api.TaskState_REJECTED).Status.Err; !strings.HasPrefix(got, "hostname: template {{.Nope}} is not known; there are .Node.Hostname, ") {
		t.Errorf("reason is %q", got)
	}
	w.until("exit", api.TaskState_RUNNING)
	w.engine.exit(w.engine.of("exit").Id, 3)
	s := w.until("exit", api.TaskState_FAILED).Status
	if s.Err != "exit code 3" || s.Container.ExitCode != 3 {
		t.Errorf("status is %v", s)
	}
	if _, ok := w.overlay.wired(s.Container.ContainerId); ok {
		t.Error("an ended task is still on its network")
	}
}

func TestHealthDecidesWhenATaskRuns(t *testing.T) {
	w := newWorld(t)
	w.revision(2, &api.ContainerSpec{Image: "web:1", Healthcheck: &api.HealthConfig{Test: []string{"CMD", "x"}, Interval: durationpb.New(time.Second)}})
	w.daemon("m1")
	w.assign("t1", func(t *api.Task) { t.Revision = 2 })
	w.eventually("waits for the health check", func() bool { return w.task("t1").Status.Message == "starting: health check" })
	id := w.engine.of("t1").Id
	w.engine.change(id, func(c *api.Container) { c.Health = "healthy" })
	if s := w.until("t1", api.TaskState_RUNNING).Status; s.Container.Health != "healthy" {
		t.Errorf("status is %v", s)
	}
	w.engine.change(id, func(c *api.Container) {
		c.Health = "unhealthy"
		c.HealthLog = []*api.HealthResult{{ExitCode: 1, Output: "refused\nmore"}}
	})
	if s := w.until("t1", api.TaskState_FAILED).Status; s.Err != "the container is unhealthy: check ended with 1: refused" {
		t.Errorf("status is %v", s)
	}
	if w.engine.of("t1").State != api.ContainerState_EXITED {
		t.Error("the unhealthy container runs on")
	}
}

func TestNotBefore(t *testing.T) {
	w := newWorld(t)
	w.daemon("m1")
	at := time.Now().Add(300 * time.Millisecond)
	w.assign("t1", func(t *api.Task) { t.NotBefore = timestamppb.New(at) })
	w.until("t1", api.TaskState_RUNNING)
	if time.Now().Before(at) {
		t.Error("started too early")
	}
}

// The managers' clock and this node's may differ by hours: a restart is delayed by what the managers meant.
func TestNotBeforeIsByTheManagersClock(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.daemon("m1")
			const delay = 300 * time.Millisecond
			began := time.Now()
			w.assign("t1", func(t *api.Task) {
				t.Status.Timestamp = timestamppb.New(began.Add(skew))
				t.NotBefore = timestamppb.New(began.Add(skew + delay))
			})
			w.until("t1", api.TaskState_RUNNING)
			if time.Since(began) < delay {
				t.Error("started too early")
			}
		})
	}
}

func TestRestartOfTheDaemon(t *testing.T) {
	w := newWorld(t)
	_, end := w.daemon("m1")
	for _, id := range []string{"stays", "ends", "orphan", "lost"} {
		w.assign(id)
		w.until(id, api.TaskState_RUNNING)
	}
	end()
	stays := w.engine.of("stays").Id
	w.overlay.Detach(t.Context(), stays) // as after a reboot of the network
	w.engine.exit(w.engine.of("ends").Id, 7)
	w.engine.Remove(t.Context(), w.engine.of("lost").Id)
	w.write(func(tx *store.Tx) error { return tx.Tasks().Delete("orphan") })

	w.daemon("m1")
	if s := w.until("ends", api.TaskState_FAILED).Status; s.Err != "exit code 7" {
		t.Errorf("the end that nobody saw is reported as %v", s)
	}
	if s := w.until("lost", api.TaskState_FAILED).Status; s.Err != errLost.Error() {
		t.Errorf("the lost container is reported as %v", s)
	}
	w.eventually("orphan removed", func() bool { return w.engine.of("orphan") == nil })
	if w.engine.started("stays") != 1 || w.engine.of("stays").State != api.ContainerState_CONTAINER_RUNNING {
		t.Error("a running container was touched by the restart")
	}
	if _, ok := w.overlay.wired(stays); !ok {
		t.Error("a running container was not attached again")
	}
}

func TestDaemonWithoutDatabaseStartsNothingTwice(t *testing.T) {
	w := newWorld(t)
	_, end := w.daemon("m1")
	for _, id := range []string{"runs", "lost"} {
		w.assign(id)
		w.until(id, api.TaskState_RUNNING)
	}
	end()
	w.engine.Remove(t.Context(), w.engine.of("lost").Id)
	w.dir = t.TempDir()
	w.daemon("m1")
	w.until("lost", api.TaskState_FAILED)
	w.want("runs", api.TaskState_SHUTDOWN)
	w.until("runs", api.TaskState_SHUTDOWN)
	if w.engine.started("runs") != 1 || w.engine.started("lost") != 1 {
		t.Error("a task was started twice")
	}
}

func TestManagerFailover(t *testing.T) {
	w := newWorld(t)
	w.silence = time.Hour // it is the end of the connection that counts
	a, _ := w.daemon("m2")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	w.eventually("all managers are known", func() bool { return len(a.Managers()) == 2 })
	w.servers["m2"].Stop()
	w.assign("t2")
	w.until("t2", api.TaskState_RUNNING)
	if w.engine.started("t1") != 1 {
		t.Error("the running task was touched")
	}
}

func TestNothingIsLostWithoutManagers(t *testing.T) {
	w := newWorld(t)
	_, end := w.daemon("m1")
	w.assign("t1")
	w.assign("t2")
	w.until("t1", api.TaskState_RUNNING)
	w.until("t2", api.TaskState_RUNNING)
	w.refuse.Store(true)
	w.engine.exit(w.engine.of("t1").Id, 9)
	w.eventually("the container is off its network", func() bool {
		_, ok := w.overlay.wired(w.engine.of("t1").Id)
		return !ok
	})
	end() // with the report of t1 undelivered
	w.engine.Remove(t.Context(), w.engine.of("t1").Id)
	w.daemon("m1")
	w.refuse.Store(false)
	if s := w.until("t1", api.TaskState_FAILED).Status; s.Err != "exit code 9" {
		t.Errorf("t1 is reported as %v", s)
	}
	if w.engine.started("t2") != 1 {
		t.Error("t2 was restarted")
	}
}

func TestStopWhileManagersAreAway(t *testing.T) {
	w := newWorld(t)
	_, end := w.daemon("m1")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	end()
	w.servers["m1"].Stop()
	w.servers["m2"].Stop()
	w.daemon()
	w.eventually("adopted from the database alone", func() bool {
		w.overlay.mu.Lock()
		defer w.overlay.mu.Unlock()
		return len(w.overlay.adopted) == 1 && len(w.overlay.desired.Networks) == 1
	})
	if w.engine.of("t1").State != api.ContainerState_CONTAINER_RUNNING {
		t.Error("a container was stopped because no manager answers")
	}
}

func TestOrphanedTaskIsStopped(t *testing.T) {
	w := newWorld(t)
	w.daemon("m1")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	w.write(func(tx *store.Tx) error {
		o := proto.CloneOf(tx.Tasks().Get("t1"))
		o.Status = &api.TaskStatus{State: api.TaskState_ORPHANED}
		return tx.Tasks().Update(o)
	})
	w.eventually("container gone", func() bool { return w.engine.of("t1") == nil })
	// Nobody has its addresses now: they are free at once, while the row goes on telling what happened.
	w.eventually("addresses given back", func() bool { return len(w.task("t1").Networks[0].Addresses) == 0 })
	if s := w.task("t1").Status.State; s != api.TaskState_ORPHANED {
		t.Errorf("the task is %v", s)
	}
}

// Who is removed while it lives stops what others run in its place, and keeps what is left of it until it leaves.
func TestRemovedNodeStopsItsTasks(t *testing.T) {
	w := newWorld(t)
	a, end := w.daemon("m1")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	w.eventually("all managers are known", func() bool { return len(a.Managers()) == 2 })
	w.write(func(tx *store.Tx) error { return tx.Nodes().Delete("w1") })
	w.eventually("the container has ended", func() bool { return w.engine.of("t1").State == api.ContainerState_EXITED })
	w.eventually("it says so", w.sure.Load)
	w.eventually("it balances to nobody", func() bool {
		w.overlay.mu.Lock()
		defer w.overlay.mu.Unlock()
		return len(w.overlay.desired.Endpoints)+len(w.overlay.desired.Services) == 0
	})
	end()
	w.daemon("m1")
	w.eventually("the next daemon is told the same", func() bool { return w.refused.Load() > 0 })
	if c := w.engine.of("t1"); c.State != api.ContainerState_EXITED || w.engine.started("t1") != 1 {
		t.Errorf("the next daemon has started it: %v", c)
	}
}

// Managers without a majority cannot say who is a member, and do not.
func TestManagersWithoutALeaderStopNothing(t *testing.T) {
	w := newWorld(t)
	w.daemon("m1")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	for _, id := range []string{"m1", "m2"} {
		w.servers[id].Stop()
	}
	w.write(func(tx *store.Tx) error { return tx.Nodes().Delete("w1") }) // as if they were far behind, too
	w.refuse.Store(true)
	w.serve("m1")
	w.serve("m2")
	before := w.dials.Load()
	w.eventually("it has asked again and again", func() bool { return w.dials.Load() > before+6 })
	if w.refused.Load() > 0 || w.engine.of("t1").State != api.ContainerState_CONTAINER_RUNNING {
		t.Error("a container was stopped by managers that have no leader")
	}
}

// A manager that was made a cluster of its own from what it knew long ago does not know this node. The others do.
func TestMinorityThatDoesNotKnowThisNodeStopsNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := w.daemon("m1")
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	w.eventually("all managers are known", func() bool { return len(a.Managers()) == 2 })
	ours := w.store
	w.store = store.New(nil)
	w.servers["m1"].Stop() // its cluster of two has no majority now
	w.servers["m2"].Stop()
	w.serveAs("m2", func() bool { return true })
	w.store = ours
	before := w.refused.Load()
	w.eventually("it has been refused for long enough", func() bool { return w.refused.Load() > before+6 })
	if w.sure.Load() || w.engine.of("t1").State != api.ContainerState_CONTAINER_RUNNING {
		t.Error("a container was stopped because one of two managers does not know this node")
	}
}

func TestServiceLogs(t *testing.T) {
	w := newWorld(t)
	a, _ := w.daemon("m1")
	w.engine.lines["t1"] = []*api.LogLine{{Data: []byte("one\n")}, {Data: []byte("two\n")}}
	w.assign("t1")
	w.until("t1", api.TaskState_RUNNING)
	w.eventually("all managers are known", func() bool { return len(a.Managers()) == 2 })
	for _, manager := range []string{"m1", "m2"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var text []string
		for m := range w.brokers[manager].Subscribe(ctx, []*api.Task{w.task("t1")}, &api.LogOptions{Tail: -1}) {
			if m.Warning != "" {
				t.Errorf("warning: %s", m.Warning)
			}
			for _, l := range m.Lines {
				text = append(text, string(l.Data))
			}
		}
		if got := strings.Join(text, ""); got != "one\ntwo\n" || ctx.Err() != nil {
			t.Errorf("through %s: logs are %q (%v)", manager, got, ctx.Err())
		}
	}
}
