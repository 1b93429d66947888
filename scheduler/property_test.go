package scheduler

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-dev/shoal/proto/api"
)

// scene is a random cluster with a random group to place.
type scene struct {
	nodes []*api.Node
	tasks []Task
	group Group
}

func drawScene(t *rapid.T) scene {
	var sc scene
	for i := range rapid.IntRange(0, 12).Draw(t, "nodes") {
		sc.nodes = append(sc.nodes, mkNode(fmt.Sprintf("n%02d", i),
			label("rack", rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "rack")),
			memory(rapid.Int64Range(0, 16).Draw(t, "mem")*gib),
			status(rapid.SampledFrom([]api.NodeStatus_State{api.NodeStatus_READY, api.NodeStatus_READY, api.NodeStatus_DOWN}).Draw(t, "state")),
			func(n *api.Node) { n.Description.Resources.NanoCpus = rapid.Int64Range(0, 16).Draw(t, "cpu") * 5e8 }))
	}
	spec := &api.ServiceSpec{Placement: &api.Placement{}}
	if rapid.Bool().Draw(t, "reserve") {
		spec.Reservations = &api.Resources{MemoryBytes: rapid.Int64Range(0, 4).Draw(t, "rmem") * gib, NanoCpus: rapid.Int64Range(0, 4).Draw(t, "rcpu") * 5e8}
	}
	if rapid.Bool().Draw(t, "constrained") {
		spec.Placement.Constraints = []string{"node.labels.rack != a"}
	}
	if rapid.Bool().Draw(t, "preference") {
		spec.Placement.Preferences = []*api.PlacementPreference{{Spread: "node.labels.rack"}}
	}
	if rapid.Bool().Draw(t, "ports") {
		spec.Endpoint = &api.EndpointSpec{Ports: []*api.PortConfig{{PublishedPort: 80, Mode: api.PublishMode_HOST}}}
	}
	spec.Placement.MaxReplicasPerNode = uint64(rapid.IntRange(0, 4).Draw(t, "max"))
	sc.group = Group{ServiceID: "s", Spec: spec, TaskIDs: ids(rapid.IntRange(1, 40).Draw(t, "tasks")), Routable: true}
	for i := range rapid.IntRange(0, 10).Draw(t, "existing") {
		if len(sc.nodes) > 0 {
			sc.tasks = append(sc.tasks, Task{ID: fmt.Sprintf("old%d", i), ServiceID: rapid.SampledFrom([]string{"s", "o"}).Draw(t, "svc"),
				NodeID: rapid.SampledFrom(sc.nodes).Draw(t, "on").Id, Wanted: rapid.Bool().Draw(t, "wanted"), Reserved: &api.Resources{MemoryBytes: gib}})
		}
	}
	return sc
}

func (sc scene) state() *State {
	s := state(sc.nodes...)
	for _, t := range sc.tasks {
		s.SetTask(t)
	}
	return s
}

func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sc := drawScene(t)
		s := sc.state()
		before := map[string]int64{}
		for id, n := range s.nodes {
			before[id] = n.freeMemory()
		}
		ps := s.Place(sc.group)

		if diff := cmp.Diff(ps, sc.state().Place(sc.group)); diff != "" {
			t.Fatalf("not deterministic: %s", diff)
		}
		perNode := map[string]int{}
		unplaced := false
		for i, p := range ps {
			if p.TaskID != sc.group.TaskIDs[i] {
				t.Fatalf("answer %d is about %s", i, p.TaskID)
			}
			if (p.NodeID == "") == (p.Reason == "") {
				t.Fatalf("task %s: node %q and reason %q", p.TaskID, p.NodeID, p.Reason)
			}
			if p.NodeID == "" {
				unplaced = true
				continue
			}
			if unplaced {
				t.Fatal("a later task was placed though an earlier, equal one was not")
			}
			perNode[p.NodeID]++
		}
		spec := sc.group.Spec
		for id, k := range perNode {
			n := s.nodes[id]
			if n.row.Status.State != api.NodeStatus_READY {
				t.Fatalf("node %s is not ready", id)
			}
			if spec.Reservations.GetMemoryBytes() > 0 && n.freeMemory() < 0 || spec.Reservations.GetNanoCpus() > 0 && n.freeCPU() < 0 {
				t.Fatalf("node %s is overcommitted: %d bytes, %d nanocpus free after %d tasks (before: %d)", id, n.freeMemory(), n.freeCPU(), k, before[id])
			}
			if most := spec.Placement.MaxReplicasPerNode; most > 0 && n.services["s"] > int(most) {
				t.Fatalf("node %s has %d tasks, at most %d allowed", id, n.services["s"], most)
			}
			if spec.Endpoint != nil && k > 1 {
				t.Fatalf("node %s got a host port %d times", id, k)
			}
			if len(spec.Placement.Constraints) > 0 && n.row.Spec.Labels["rack"] == "a" {
				t.Fatalf("node %s does not meet the constraint", id)
			}
		}
		// A task stays without a node only if no node has room for it.
		if why := s.Explain(sc.group); unplaced && why == "" {
			t.Fatal("a task was left over though a node has room")
		}
	})
}

// Where every node can take everything, nodes differ by one task at most.
func TestSpreadProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewState()
		n := rapid.IntRange(1, 30).Draw(t, "nodes")
		for i := range n {
			s.SetNode(mkNode(fmt.Sprintf("n%02d", i), memory(rapid.Int64Range(0, 9).Draw(t, "mem")*gib)))
			for j := range rapid.IntRange(0, 3).Draw(t, "others") {
				s.SetTask(Task{ID: fmt.Sprintf("o%d.%d", i, j), ServiceID: "o", NodeID: fmt.Sprintf("n%02d", i), Wanted: true})
			}
		}
		for round := range 3 {
			k := rapid.IntRange(0, 50).Draw(t, "tasks")
			var group []string
			for i := range k {
				group = append(group, fmt.Sprintf("t%d.%d", round, i))
			}
			s.Place(Group{ServiceID: "s", Spec: &api.ServiceSpec{}, TaskIDs: group})
			low, high := 1<<30, 0
			for _, n := range s.nodes {
				low, high = min(low, n.services["s"]), max(high, n.services["s"])
			}
			if high-low > 1 {
				t.Fatalf("nodes have between %d and %d tasks", low, high)
			}
		}
	})
}

// Removing everything that was placed leaves no trace in the sums.
func TestRemoveProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sc := drawScene(t)
		s := state(sc.nodes...)
		for _, p := range s.Place(sc.group) {
			s.RemoveTask(p.TaskID)
		}
		for _, n := range s.nodes {
			if n.cpu != 0 || n.mem != 0 || n.wanted != 0 || n.routable != 0 || len(n.services)+len(n.ports)+len(n.tasks) != 0 {
				t.Fatalf("node %s still counts %+v", n.id, n)
			}
		}
	})
}
