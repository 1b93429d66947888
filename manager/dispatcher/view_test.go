package dispatcher

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// A service keeps its name on a network that an update takes it off, for as long as one of its tasks is there.
func TestServiceViewWhileItLeavesANetwork(t *testing.T) {
	c := newCluster(t, nil)
	fill(c)
	v := view{node: "w1", networks: map[string]int{"net1": 1}}
	change := func(fn func(s *api.Service)) {
		c.write(func(tx *store.Tx) error {
			s := proto.CloneOf(tx.Services().Get("db"))
			fn(s)
			return tx.Services().Update(s)
		})
	}
	want := func(when string, vips int, there bool) {
		t.Helper()
		c.store.View(func(tx *store.Tx) {
			got := v.serviceView(tx, tx.Services().Get("db"))
			if (got != nil) != there || len(got.GetVirtualIps()) != vips {
				t.Errorf("%s: %v", when, got)
			}
		})
	}
	want("on the network", 1, true)
	change(func(s *api.Service) { s.Spec.Networks, s.PreviousRevision = nil, 1 })
	want("its virtual address is still there", 1, true)
	change(func(s *api.Service) { s.Endpoint.VirtualIps = nil })
	want("it had none (dnsrr)", 0, true)
	c.write(func(tx *store.Tx) error {
		task := proto.CloneOf(tx.Tasks().Get("db1"))
		task.Status.State = api.TaskState_SHUTDOWN
		return tx.Tasks().Update(task)
	})
	want("its last task has ended", 0, false)
}

func TestPeerView(t *testing.T) {
	n := &api.Node{
		Id: "n1", Number: 7, GatewaySubnets: []string{"10.112.0.0/22"},
		Description: &api.NodeDescription{Hostname: "h1", Addresses: []string{"192.0.2.1", "2001:db8::1"}},
		Status:      &api.NodeStatus{State: api.NodeStatus_DOWN, DataPathAddr: "192.0.2.1"},
	}
	want := &api.PeerView{
		NodeId: "n1", Hostname: "h1", DataPathAddr: "192.0.2.1", GatewaySubnets: n.GatewaySubnets, Number: 7, Down: true,
		Addresses: []string{"192.0.2.1", "2001:db8::1"},
	}
	if diff := cmp.Diff(want, peerView(n), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
