package scheduler

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

const gib = 1 << 30

// mkNode is a ready worker with 4 CPUs and 8 GiB, changed by the given functions.
func mkNode(id string, change ...func(*api.Node)) *api.Node {
	n := &api.Node{
		Id:   id,
		Spec: &api.NodeSpec{Labels: map[string]string{}},
		Description: &api.NodeDescription{
			Hostname:  "host-" + id,
			Platform:  &api.Platform{Os: "linux", Architecture: "amd64"},
			Resources: &api.Resources{NanoCpus: 4e9, MemoryBytes: 8 * gib},
		},
		Status:         &api.NodeStatus{State: api.NodeStatus_READY},
		GatewaySubnets: []string{"10.112.0.0/22"},
	}
	for _, f := range change {
		f(n)
	}
	return n
}

func label(k, v string) func(*api.Node) {
	return func(n *api.Node) { n.Spec.Labels[k] = v }
}

func status(s api.NodeStatus_State) func(*api.Node) {
	return func(n *api.Node) { n.Status.State = s }
}

func memory(b int64) func(*api.Node) {
	return func(n *api.Node) { n.Description.Resources.MemoryBytes = b }
}

func state(nodes ...*api.Node) *State {
	s := NewState()
	for _, n := range nodes {
		s.SetNode(n)
	}
	return s
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("t%05d", i)
	}
	return out
}

// counts is how many tasks each node got; "" counts those without one.
func counts(ps []Placement) map[string]int {
	out := map[string]int{}
	for _, p := range ps {
		out[p.NodeID]++
	}
	return out
}

func TestSpreadOverNodes(t *testing.T) {
	s := state(mkNode("a"), mkNode("b"), mkNode("c"))
	s.SetTask(Task{ID: "old", ServiceID: "s", NodeID: "a", Wanted: true})
	got := counts(s.Place(Group{ServiceID: "s", Spec: &api.ServiceSpec{}, TaskIDs: ids(5)}))
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 2, "c": 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEqualNodesTheEmptiestFirst(t *testing.T) {
	s := state(mkNode("a"), mkNode("b"), mkNode("c", memory(16*gib)))
	s.SetTask(Task{ID: "x", ServiceID: "other", NodeID: "a", Wanted: true})
	got := s.Place(Group{ServiceID: "s", Spec: &api.ServiceSpec{}, TaskIDs: ids(3)})
	for i, want := range []string{"c", "b", "a"} { // most memory, no task, one task
		if got[i].NodeID != want {
			t.Errorf("task %d went to %s, want %s", i, got[i].NodeID, want)
		}
	}
}

func TestSpreadOverLabels(t *testing.T) {
	s := state(mkNode("a1", label("rack", "a")), mkNode("a2", label("rack", "a")), mkNode("a3", label("rack", "a")),
		mkNode("b1", label("rack", "b")), mkNode("c1"))
	spec := &api.ServiceSpec{Placement: &api.Placement{Preferences: []*api.PlacementPreference{{Spread: "node.labels.rack"}}}}
	got := counts(s.Place(Group{ServiceID: "s", Spec: spec, TaskIDs: ids(9)}))
	if diff := cmp.Diff(map[string]int{"a1": 1, "a2": 1, "a3": 1, "b1": 3, "c1": 3}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpreadOverTwoLevels(t *testing.T) {
	s := state(mkNode("n1", label("dc", "x"), label("rack", "1")), mkNode("n2", label("dc", "x"), label("rack", "2")),
		mkNode("n3", label("dc", "x"), label("rack", "2")), mkNode("n4", label("dc", "y"), label("rack", "1")))
	spec := &api.ServiceSpec{Placement: &api.Placement{Preferences: []*api.PlacementPreference{
		{Spread: "node.labels.dc"}, {Spread: "node.labels.rack"}}}}
	got := counts(s.Place(Group{ServiceID: "s", Spec: spec, TaskIDs: ids(8)}))
	if diff := cmp.Diff(map[string]int{"n1": 2, "n2": 1, "n3": 1, "n4": 4}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFailingNodeIsLastChoice(t *testing.T) {
	spec := &api.ServiceSpec{Placement: &api.Placement{MaxReplicasPerNode: 2}}
	s := state(mkNode("a"), mkNode("b"))
	got := counts(s.Place(Group{ServiceID: "s", Spec: spec, TaskIDs: ids(3), Failures: map[string]int{"a": MaxFailures}}))
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStoppingTaskHoldsResourcesButNoPlaceInTheSpread(t *testing.T) {
	s := state(mkNode("a"), mkNode("b", memory(2*gib)))
	for _, id := range []string{"x", "y"} {
		s.SetTask(Task{ID: id, ServiceID: "s", NodeID: "a", Reserved: &api.Resources{MemoryBytes: 3 * gib}})
	}
	spec := &api.ServiceSpec{Reservations: &api.Resources{MemoryBytes: 2 * gib}}
	got := counts(s.Place(Group{ServiceID: "s", Spec: spec, TaskIDs: ids(3)}))
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "": 1}, got); diff != "" {
		t.Error(diff)
	}
	s.RemoveTask("x")
	if p := s.Place(Group{ServiceID: "s", Spec: spec, TaskIDs: []string{"z"}}); p[0].NodeID != "a" {
		t.Errorf("after the end of x: got %+v, want a", p)
	}
}

func TestExplain(t *testing.T) {
	hostPort := []*api.PortConfig{{Protocol: "tcp", TargetPort: 80, PublishedPort: 8080, Mode: api.PublishMode_HOST}}
	for _, tt := range []struct {
		name  string
		nodes []*api.Node
		spec  *api.ServiceSpec
		tasks int
		want  string
	}{
		{"no nodes", nil, &api.ServiceSpec{}, 1, "no suitable node (the cluster has no nodes)"},
		{"mixed", []*api.Node{
			mkNode("a"), mkNode("b"), mkNode("c", label("x", "y"), memory(gib/2)), mkNode("d", status(api.NodeStatus_DOWN))},
			&api.ServiceSpec{Reservations: &api.Resources{MemoryBytes: 2 * gib},
				Placement: &api.Placement{Constraints: []string{"node.labels.x==y"}}}, 1,
			"no suitable node (2 nodes: constraint node.labels.x == y not met; 1 node: down; " +
				"1 node: not enough memory (needs 2 GiB, largest free 512 MiB))"},
		{"cpu", []*api.Node{mkNode("a")}, &api.ServiceSpec{Reservations: &api.Resources{NanoCpus: 45e8}}, 1,
			"no suitable node (1 node: not enough CPU (needs 4.5 CPUs, largest free 4 CPUs))"},
		{"host port", []*api.Node{mkNode("a")}, &api.ServiceSpec{Endpoint: &api.EndpointSpec{Ports: hostPort}}, 2,
			"no suitable node (1 node: host port 8080/tcp in use)"},
		{"max replicas", []*api.Node{mkNode("a"), mkNode("b")}, &api.ServiceSpec{Placement: &api.Placement{MaxReplicasPerNode: 1}}, 3,
			"no suitable node (2 nodes: max replicas per node (1) reached)"},
		{"platform", []*api.Node{mkNode("a")}, &api.ServiceSpec{Placement: &api.Placement{
			Platforms: []*api.Platform{{Os: "linux", Architecture: "aarch64"}}}}, 1,
			"no suitable node (1 node: the image is not for this platform (it is for linux/arm64))"},
		{"availability", []*api.Node{
			mkNode("a", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_DRAIN }),
			mkNode("b", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_PAUSE }),
			mkNode("c", status(api.NodeStatus_UNKNOWN)), mkNode("d", status(api.NodeStatus_DISCONNECTED))}, &api.ServiceSpec{}, 1,
			"no suitable node (1 node: disconnected; 1 node: drained (availability drain); 1 node: not yet heard from; " +
				"1 node: paused (availability pause))"},
		{"no gateway subnet", []*api.Node{mkNode("a", func(n *api.Node) { n.GatewaySubnets = nil })}, &api.ServiceSpec{}, 1,
			"no suitable node (1 node: no gateway subnet allocated yet)"},
		{"gateway subnet full", []*api.Node{mkNode("a", func(n *api.Node) { n.GatewaySubnets = []string{"10.0.0.0/29"} })},
			&api.ServiceSpec{}, 6, "no suitable node (1 node: all addresses of the node's gateway subnet in use)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := state(tt.nodes...)
			g := Group{ServiceID: "s", Spec: tt.spec, TaskIDs: ids(tt.tasks), Routable: true}
			got := s.Place(g)
			if last := got[len(got)-1]; last.NodeID != "" || last.Reason != tt.want {
				t.Errorf("got  %s on %q\nwant %s", last.Reason, last.NodeID, tt.want)
			}
			if e := s.Explain(g); e != tt.want {
				t.Errorf("Explain: got %s", e)
			}
		})
	}
}

func TestFit(t *testing.T) {
	s := state(mkNode("a"))
	g := Group{ServiceID: "s", Spec: &api.ServiceSpec{Reservations: &api.Resources{MemoryBytes: 5 * gib}}}
	if why := s.Fit(g, "t1", "a"); why != "" {
		t.Fatal(why)
	}
	want := "node host-a cannot take it: not enough memory (needs 5 GiB, largest free 3 GiB)"
	if why := s.Fit(g, "t2", "a"); why != want {
		t.Errorf("got %q, want %q", why, want)
	}
}

func TestRemovedNodeTakesNothing(t *testing.T) {
	s := state(mkNode("a"), mkNode("b"))
	s.SetTask(Task{ID: "x", ServiceID: "s", NodeID: "a", Wanted: true})
	s.RemoveNode("a")
	got := counts(s.Place(Group{ServiceID: "s", Spec: &api.ServiceSpec{}, TaskIDs: ids(3)}))
	if diff := cmp.Diff(map[string]int{"b": 3}, got); diff != "" {
		t.Error(diff)
	}
	s.RemoveTask("x")
	if _, there := s.nodes["a"]; there {
		t.Error("a removed node without tasks is still remembered")
	}
}

func TestCheckPreferences(t *testing.T) {
	if err := CheckPreferences([]*api.PlacementPreference{{Spread: "node.labels.rack"}}); err != nil {
		t.Error(err)
	}
	if err := CheckPreferences([]*api.PlacementPreference{{Spread: "rack"}}); err == nil {
		t.Error("no error for an unknown key")
	}
}
