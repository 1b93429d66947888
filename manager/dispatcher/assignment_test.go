package dispatcher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func testTask(id, node, service string, state api.TaskState, networks ...string) *api.Task {
	t := &api.Task{
		Id: id, ServiceId: service, ServiceName: "name-" + service, Revision: 1, Slot: 1, NodeId: node,
		DesiredState: api.TaskState_RUNNING, Status: &api.TaskStatus{State: state},
		GatewayAddresses: []string{"10.112.0.9/22"},
	}
	for _, n := range networks {
		t.Networks = append(t.Networks, &api.NetworkAttachment{NetworkId: n, Addresses: []string{"10.96.0.7/22"}, Aliases: []string{"alias"}})
	}
	return t
}

func testService(id string, ingress bool, networks ...string) *api.Service {
	s := &api.Service{Id: id, Spec: &api.ServiceSpec{Name: "name-" + id}, Endpoint: &api.Endpoint{}}
	for _, n := range networks {
		s.Spec.Networks = append(s.Spec.Networks, &api.NetworkAttachmentSpec{Network: n})
		s.Endpoint.VirtualIps = append(s.Endpoint.VirtualIps, &api.VirtualIP{NetworkId: n, Addresses: []string{"10.96.0.2"}})
	}
	if ingress {
		s.Endpoint.Ports = []*api.PortConfig{{TargetPort: 80, PublishedPort: 8080}}
	}
	return s
}

// fill writes a small world: web (published) and db on net1, other on net2; node w1 runs one task of web.
func fill(c *cluster) {
	c.write(func(tx *store.Tx) error {
		for i, id := range []string{"m1", "m2", "w1", "w2"} {
			n := &api.Node{Id: id, Spec: &api.NodeSpec{}, Status: &api.NodeStatus{DataPathAddr: "192.0.2.1"}, Number: uint32(i + 1)}
			if err := tx.Nodes().Create(n); err != nil {
				return err
			}
		}
		for _, id := range []string{"net1", "net2"} {
			if err := tx.Networks().Create(&api.Network{Id: id, Spec: &api.NetworkSpec{Name: id}}); err != nil {
				return err
			}
		}
		for _, s := range []*api.Service{testService("web", true, "net1"), testService("db", false, "net1"), testService("other", false, "net2")} {
			if err := tx.Services().Create(s); err != nil {
				return err
			}
			if err := tx.Revisions().Create(&api.Revision{Id: s.Id + ".1", ServiceId: s.Id, Number: 1}); err != nil {
				return err
			}
		}
		for _, t := range []*api.Task{
			testTask("web1", "w1", "web", api.TaskState_ASSIGNED, "net1"), testTask("web2", "w2", "web", api.TaskState_RUNNING, "net1"),
			testTask("db1", "w2", "db", api.TaskState_RUNNING, "net1"), testTask("other1", "w2", "other", api.TaskState_RUNNING, "net2"),
			testTask("pending", "", "web", api.TaskState_PENDING, "net1"),
		} {
			if err := tx.Tasks().Create(t); err != nil {
				return err
			}
		}
		return nil
	})
}

// told collects a stream's messages into what the node knows.
type told map[string]proto.Message

func (w told) take(m *api.AssignmentsMessage) {
	for _, a := range m.Changes {
		name, msg := named(a)
		if a.Remove {
			delete(w, name)
		} else {
			w[name] = msg
		}
	}
}

func named(a *api.Assignment) (string, proto.Message) {
	switch k := a.Kind.(type) {
	case *api.Assignment_Task:
		return "task " + k.Task.Id, k.Task
	case *api.Assignment_Revision:
		return "revision " + k.Revision.Id, k.Revision
	case *api.Assignment_Network:
		return "network " + k.Network.Id, k.Network
	case *api.Assignment_Endpoint:
		return "endpoint " + k.Endpoint.NetworkId + "/" + k.Endpoint.TaskId, k.Endpoint
	case *api.Assignment_Service:
		return "service " + k.Service.Id, k.Service
	}
	p := a.Kind.(*api.Assignment_Peer).Peer
	return "peer " + p.NodeId, p
}

func (w told) must(t *testing.T, present, absent []string) {
	t.Helper()
	for _, name := range present {
		if w[name] == nil {
			t.Errorf("the node was not told of %s", name)
		}
	}
	for _, name := range absent {
		if w[name] != nil {
			t.Errorf("the node was told of %s: %v", name, w[name])
		}
	}
}

func TestCompleteThenIncremental(t *testing.T) {
	c := newCluster(t, nil)
	fill(c)
	stream, err := c.client("m2", "w1").Assignments(t.Context(), &api.AssignmentsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	recv := func() *api.AssignmentsMessage {
		t.Helper()
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	w, m := told{}, recv()
	if m.Type != api.AssignmentsMessage_COMPLETE || m.Index != c.store.Index() {
		t.Fatalf("first message is %v at %d, want COMPLETE at %d", m.Type, m.Index, c.store.Index())
	}
	w.take(m)
	w.must(t,
		[]string{"task web1", "revision web.1", "network net1", "endpoint net1/web1", "endpoint net1/web2", "endpoint net1/db1",
			"endpoint /web2", "endpoint /web1", "service web", "service db", "peer w1", "peer w2", "peer m1"},
		[]string{"task web2", "revision db.1", "network net2", "endpoint net2/other1", "endpoint /db1", "service other", "endpoint net1/pending"})
	e := w["endpoint net1/web2"].(*api.EndpointView)
	if !e.Ready || e.Addresses[0] != "10.96.0.7" || e.Name != "name-web.1.web2" || e.Aliases[0] != "alias" {
		t.Errorf("endpoint of web2 is %v", e)
	}
	if w["endpoint net1/web1"].(*api.EndpointView).Ready {
		t.Error("a task that does not run yet is ready")
	}

	// A second task brings a second network along, in one message.
	c.write(func(tx *store.Tx) error {
		return tx.Tasks().Create(testTask("other2", "w1", "other", api.TaskState_ASSIGNED, "net2"))
	})
	w.take(recv())
	w.must(t, []string{"task other2", "revision other.1", "network net2", "endpoint net2/other1", "endpoint net2/other2", "service other"}, nil)

	// Two-phase stop: desired state alone takes the endpoint out of balancing.
	c.write(func(tx *store.Tx) error {
		web2 := proto.CloneOf(tx.Tasks().Get("web2"))
		web2.DesiredState = api.TaskState_SHUTDOWN
		return tx.Tasks().Update(web2)
	})
	m = recv()
	w.take(m)
	if w["endpoint net1/web2"].(*api.EndpointView).Ready || w["endpoint /web2"].(*api.EndpointView).Ready || len(m.Changes) != 2 {
		t.Errorf("draining web2 was told as %v", m)
	}

	// The end of the only task on net2 takes all of net2 away; the ended task itself stays until its row goes.
	c.write(func(tx *store.Tx) error {
		o := proto.CloneOf(tx.Tasks().Get("other2"))
		o.Status = &api.TaskStatus{State: api.TaskState_FAILED}
		return tx.Tasks().Update(o)
	})
	w.take(recv())
	w.must(t, []string{"task other2"}, []string{"revision other.1", "network net2", "endpoint net2/other1", "service other"})
	c.write(func(tx *store.Tx) error { return tx.Tasks().Delete("other2") })
	w.take(recv())
	w.must(t, nil, []string{"task other2"})
}

func TestAgentIsNotSentBackInTime(t *testing.T) {
	c := newCluster(t, nil)
	fill(c)
	at := c.store.Index()
	stream, err := c.client("m1", "w1").Assignments(t.Context(), &api.AssignmentsRequest{SeenIndex: at + 1})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *api.AssignmentsMessage)
	go func() {
		m, _ := stream.Recv()
		got <- m
	}()
	select {
	case m := <-got:
		t.Fatalf("told %v before the replica caught up", m)
	case <-time.After(50 * time.Millisecond): // nothing must come: there is no condition to poll for
	}
	c.write(func(tx *store.Tx) error {
		return tx.Tasks().Create(testTask("web3", "w1", "web", api.TaskState_ASSIGNED, "net1"))
	})
	if m := <-got; m.GetIndex() != at+1 || m.GetType() != api.AssignmentsMessage_COMPLETE {
		t.Errorf("first message is %v", m)
	}
}

// assigned is an agent's end of Assignments without a network.
type assigned struct {
	grpc.ServerStreamingServer[api.AssignmentsMessage]
	ctx  context.Context
	sent chan *api.AssignmentsMessage
}

func (a assigned) Context() context.Context { return a.ctx }

func (a assigned) Send(m *api.AssignmentsMessage) error {
	a.sent <- m
	return nil
}

// After a forced new cluster, or one from a backup, nodes have seen more than any manager knows. They must not wait until the
// managers have done as much anew.
func TestLostHistoryIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leads := false
		d := New(store.New(nil), Deps{
			NodeID: "m1", IsLeader: func() bool { return leads },
			Caller: func(context.Context) (Peer, error) { return Peer{NodeID: "w1"}, nil },
		})
		fill(&cluster{t: t, store: d.store})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a := assigned{ctx: ctx, sent: make(chan *api.AssignmentsMessage, 1)}
		ask := func() error {
			return d.Assignments(&api.AssignmentsRequest{SeenIndex: d.store.Index() + 1e6}, a)
		}
		if err := ask(); status.Code(err) != codes.Unavailable {
			t.Errorf("a follower says %v, want Unavailable", err)
		}
		leads = true
		go ask()
		time.Sleep(2 * resync)
		synctest.Wait()
		select {
		case m := <-a.sent:
			if m.Type != api.AssignmentsMessage_COMPLETE || len(m.Changes) == 0 {
				t.Errorf("the leader says %v", m)
			}
		default:
			t.Error("the leader says nothing")
		}
	})
}

// TestIncrementsEqualRecompute changes the world at random and compares what increments add up to with what a node
// that comes new is told.
func TestIncrementsEqualRecompute(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := &cluster{t: t, store: store.New(nil)}
		fill(c)
		a, w := newAssignment("w1", newEndpoints()), told{}
		watch, stop := c.store.Watch(t.Context())
		c.store.View(func(tx *store.Tx) { w.take(&api.AssignmentsMessage{Changes: a.update(tx, nil)}) })
		for i := range 100 {
			c.write(func(tx *store.Tx) error { return randomChange(tx, r, i) })
			var events []store.Event
			if at := c.store.Index(); r.IntN(3) > 0 || i == 99 {
				for last := uint64(0); last < at; {
					events = append(events, <-watch...)
					last = newest(events)
				}
				c.store.View(func(tx *store.Tx) { w.take(&api.AssignmentsMessage{Changes: a.update(tx, events)}) })
			}
		}
		stop()
		fresh := told{}
		c.store.View(func(tx *store.Tx) {
			fresh.take(&api.AssignmentsMessage{Changes: newAssignment("w1", newEndpoints()).update(tx, nil)})
		})
		compareTold(t, seed, w, fresh)
	}
}

func compareTold(t *testing.T, seed uint64, got, want told) {
	t.Helper()
	for name, m := range want {
		if g := got[name]; g == nil || !same(g, m) {
			t.Errorf("seed %d: %s is told as %v, want %v", seed, name, g, m)
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("seed %d: %s is told still", seed, name)
		}
	}
}

// newest returns the index of a marker that randomChange leaves in every transaction.
func newest(events []store.Event) uint64 {
	n, _ := events[len(events)-1].New.(*api.Cluster)
	return n.GetMeta().GetVersion()
}

func randomChange(tx *store.Tx, r *rand.Rand, i int) error {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	nets := []string{pick("net1", "net2", "net3")}
	var err error
	switch r.IntN(6) {
	case 0, 1:
		svc := pick("web", "db", "other")
		err = tx.Tasks().Create(testTask(fmt.Sprint("t", i), pick("w1", "w2", ""), svc, api.TaskState_ASSIGNED, nets...))
	case 2, 3:
		for _, t := range tx.Tasks().List() {
			if r.IntN(3) == 0 {
				t = proto.CloneOf(t)
				t.Status = &api.TaskStatus{State: []api.TaskState{api.TaskState_ASSIGNED, api.TaskState_RUNNING, api.TaskState_FAILED}[r.IntN(3)]}
				t.DesiredState = []api.TaskState{api.TaskState_RUNNING, api.TaskState_SHUTDOWN, api.TaskState_REMOVE}[r.IntN(3)]
				if t.NodeId == "" {
					t.NodeId = pick("w1", "w2")
				}
				err = tx.Tasks().Update(t)
			}
		}
	case 4:
		for _, t := range tx.Tasks().List() {
			if r.IntN(4) == 0 {
				err = tx.Tasks().Delete(t.Id)
			}
		}
	case 5:
		s := proto.CloneOf(tx.Services().Get(pick("web", "db", "other")))
		s.Endpoint.Ports = nil
		if r.IntN(2) == 0 {
			s.Endpoint.Ports = []*api.PortConfig{{TargetPort: uint32(i), PublishedPort: 8080}}
		}
		if r.IntN(2) == 0 { // an update takes its network away
			s.PreviousRevision, s.Spec.Networks, s.Endpoint.VirtualIps = uint64(r.IntN(2)), nil, nil
		}
		err = tx.Services().Update(s)
	}
	if err != nil {
		return err
	}
	return tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{Name: "default"}, VniBase: uint32(i + 1), Meta: tx.Cluster().GetMeta()})
}
