package placement

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

type rig struct {
	t *testing.T
	s *store.Store
}

func newRig(t *testing.T, nodes ...*api.Node) *rig {
	t.Helper()
	r := &rig{t, store.New(nil)}
	for _, n := range nodes {
		r.update(func(tx *store.Tx) error { return tx.Nodes().Create(n) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(r.s, slog.New(slog.DiscardHandler)).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *rig) update(fn func(tx *store.Tx) error) {
	r.t.Helper()
	if err := r.s.Update(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wait(what string, ok func(tx *store.Tx) bool) {
	r.t.Helper()
	seen := func() (done bool) {
		r.s.View(func(tx *store.Tx) { done = ok(tx) })
		return done
	}
	if !poll.Until(time.Minute, seen) {
		r.s.View(func(tx *store.Tx) { r.t.Logf("tasks: %v", tx.Tasks().List()) })
		r.t.Fatalf("timed out: %s", what)
	}
}

func node(id string, number int) *api.Node {
	return &api.Node{
		Id: id, Spec: &api.NodeSpec{}, Status: &api.NodeStatus{State: api.NodeStatus_READY},
		Description:    &api.NodeDescription{Hostname: id, Resources: &api.Resources{NanoCpus: 4e9, MemoryBytes: 1 << 30}},
		GatewaySubnets: []string{fmt.Sprintf("10.112.%d.0/22", 4*number), fmt.Sprintf("fd00:0:0:%d::/64", number)},
	}
}

// service creates a revision and n tasks of it in one transaction.
func (r *rig) service(name string, spec *api.ServiceSpec, n int, change ...func(*api.Task)) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error {
		if err := tx.Revisions().Create(&api.Revision{Id: name + ".1", ServiceId: name, Number: 1, Spec: spec}); err != nil {
			return err
		}
		for i := range n {
			t := &api.Task{Id: fmt.Sprintf("%s-%d", name, i+1), ServiceId: name, ServiceName: name, Revision: 1, Slot: uint64(i + 1),
				DesiredState: api.TaskState_RUNNING, Status: &api.TaskStatus{State: api.TaskState_PENDING}}
			for _, f := range change {
				f(t)
			}
			if err := tx.Tasks().Create(t); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *rig) change(id string, f func(*api.Task)) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error {
		t := proto.CloneOf(tx.Tasks().Get(id))
		f(t)
		return tx.Tasks().Update(t)
	})
}

func assigned(tx *store.Tx) int {
	n := 0
	for t := range tx.Tasks().All() {
		if t.Status.State == api.TaskState_ASSIGNED {
			n++
		}
	}
	return n
}

func TestGroupIsPlacedInOneTransaction(t *testing.T) {
	r := newRig(t, node("a", 0), node("b", 1))
	r.service("web", &api.ServiceSpec{}, 100)
	before := r.s.Index()
	r.wait("all assigned", func(tx *store.Tx) bool { return assigned(tx) == 100 })
	if n := r.s.Index() - before; n > 2 {
		t.Errorf("%d transactions", n)
	}
	r.s.View(func(tx *store.Tx) {
		seen := map[string]bool{"10.112.0.1/22": true, "10.112.4.1/22": true}
		for _, task := range tx.Tasks().List() {
			if len(task.GatewayAddresses) != 2 {
				t.Fatalf("addresses %v", task.GatewayAddresses)
			}
			for _, a := range task.GatewayAddresses {
				if seen[a] {
					t.Fatalf("%s twice, or a node's own", a)
				}
				seen[a] = true
			}
		}
		if n := len(tx.Tasks().List(store.ByNode("a"))); n != 50 {
			t.Errorf("%d on a", n)
		}
	})
}

func TestReasonAndLaterPlace(t *testing.T) {
	r := newRig(t, node("a", 0))
	big := &api.ServiceSpec{Reservations: &api.Resources{MemoryBytes: 700 << 20}}
	r.service("web", big, 2)
	want := "no suitable node (1 node: not enough memory (needs 700 MiB, largest free 324 MiB))"
	r.wait("the reason", func(tx *store.Tx) bool {
		second := tx.Tasks().Get("web-2").Status
		return second.State == api.TaskState_PENDING && second.Err == want && second.Message == "waiting for a node"
	})
	r.change("web-1", func(t *api.Task) { t.Status = &api.TaskStatus{State: api.TaskState_SHUTDOWN} })
	r.wait("room after an end", func(tx *store.Tx) bool {
		s := tx.Tasks().Get("web-2")
		return s.Status.State == api.TaskState_ASSIGNED && s.NodeId == "a" && s.Status.Err == ""
	})
}

func TestNewNodeTakesWaitingTasks(t *testing.T) {
	r := newRig(t)
	r.service("web", &api.ServiceSpec{}, 3)
	r.wait("the reason", func(tx *store.Tx) bool {
		return tx.Tasks().Get("web-3").Status.Err == "no suitable node (the cluster has no nodes)"
	})
	r.update(func(tx *store.Tx) error { return tx.Nodes().Create(node("a", 0)) })
	r.wait("places", func(tx *store.Tx) bool { return assigned(tx) == 3 })
}

func TestGlobalTaskKeepsItsNode(t *testing.T) {
	r := newRig(t, node("a", 0), node("b", 1))
	spec := &api.ServiceSpec{Mode: &api.ServiceMode{Global: true}, Reservations: &api.Resources{MemoryBytes: 2 << 30}}
	r.service("big", spec, 1, func(t *api.Task) { t.NodeId, t.Slot = "b", 0 })
	want := "node b cannot take it: not enough memory (needs 2 GiB, largest free 1 GiB)"
	r.wait("the reason", func(tx *store.Tx) bool { return tx.Tasks().Get("big-1").Status.Err == want })

	r.service("small", &api.ServiceSpec{Mode: &api.ServiceMode{Global: true}}, 1, func(t *api.Task) { t.NodeId, t.Slot = "b", 0 })
	r.wait("the place", func(tx *store.Tx) bool {
		s := tx.Tasks().Get("small-1")
		return s.Status.State == api.TaskState_ASSIGNED && s.NodeId == "b" && s.GatewayAddresses[0] == "10.112.4.2/22"
	})
}

func TestOnlyInternalNetworksHaveNoGateway(t *testing.T) {
	r := newRig(t, node("a", 0))
	r.update(func(tx *store.Tx) error {
		return tx.Networks().Create(&api.Network{Id: "in", Spec: &api.NetworkSpec{Name: "in", Internal: true}})
	})
	on := func(ids ...string) *api.ServiceSpec {
		s := &api.ServiceSpec{}
		for _, id := range ids {
			s.Networks = append(s.Networks, &api.NetworkAttachmentSpec{Network: id})
		}
		return s
	}
	r.service("internal", on("in"), 1)
	r.service("host", on("host"), 1)
	r.service("plain", on(), 1)
	r.wait("places", func(tx *store.Tx) bool { return assigned(tx) == 3 })
	r.s.View(func(tx *store.Tx) {
		got := map[string]int{}
		for _, s := range []string{"internal", "host", "plain"} {
			got[s] = len(tx.Tasks().Get(s + "-1").GatewayAddresses)
		}
		if diff := cmp.Diff(map[string]int{"internal": 0, "host": 0, "plain": 2}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGatewayAddressesAreReused(t *testing.T) {
	n := node("a", 0)
	n.GatewaySubnets = []string{"10.112.0.0/29"} // five tasks
	r := newRig(t, n)
	r.service("web", &api.ServiceSpec{}, 5)
	r.wait("five", func(tx *store.Tx) bool { return assigned(tx) == 5 })
	r.service("more", &api.ServiceSpec{}, 1)
	r.wait("full", func(tx *store.Tx) bool {
		return tx.Tasks().Get("more-1").Status.Err == "no suitable node (1 node: all addresses of the node's gateway subnet in use)"
	})
	var freed []string
	r.s.View(func(tx *store.Tx) { freed = tx.Tasks().Get("web-4").GatewayAddresses })
	r.change("web-4", func(t *api.Task) { t.Status.State = api.TaskState_COMPLETE })
	r.wait("the freed address", func(tx *store.Tx) bool { return cmp.Equal(tx.Tasks().Get("more-1").GatewayAddresses, freed) })
}

func TestFailingNodeIsAvoided(t *testing.T) {
	r := newRig(t, node("a", 0), node("b", 1))
	now := timestamppb.Now()
	r.service("web", &api.ServiceSpec{}, 3, func(t *api.Task) {
		t.NodeId, t.DesiredState = "a", api.TaskState_SHUTDOWN
		t.Status = &api.TaskStatus{State: api.TaskState_FAILED, Timestamp: now}
	})
	r.update(func(tx *store.Tx) error {
		for i := range 4 {
			t := &api.Task{Id: fmt.Sprint("new", i), ServiceId: "web", Revision: 1, DesiredState: api.TaskState_RUNNING,
				Status: &api.TaskStatus{State: api.TaskState_PENDING}}
			if err := tx.Tasks().Create(t); err != nil {
				return err
			}
		}
		return nil
	})
	r.wait("places on b", func(tx *store.Tx) bool {
		return len(tx.Tasks().List(store.ByNode("b"))) == 4
	})
}

func TestStoppedTaskIsNotPlaced(t *testing.T) {
	r := newRig(t)
	r.service("web", &api.ServiceSpec{}, 1)
	r.change("web-1", func(t *api.Task) { t.DesiredState = api.TaskState_SHUTDOWN })
	r.update(func(tx *store.Tx) error { return tx.Nodes().Create(node("a", 0)) })
	r.service("after", &api.ServiceSpec{}, 1)
	r.wait("the later one", func(tx *store.Tx) bool { return tx.Tasks().Get("after-1").NodeId == "a" })
	r.s.View(func(tx *store.Tx) {
		if n := tx.Tasks().Get("web-1").NodeId; n != "" {
			t.Errorf("a task that is to stop was placed on %s", n)
		}
	})
}
