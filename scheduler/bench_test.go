package scheduler

import (
	"fmt"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// BenchmarkPlace is the scheduler alone, without the store. The peers' figures for the same
// are in docs/scheduler.md.
func BenchmarkPlace(b *testing.B) {
	constrained := &api.ServiceSpec{
		Reservations: &api.Resources{MemoryBytes: 1 << 20},
		Placement: &api.Placement{
			Constraints: []string{"node.labels.rack != r0", "node.role == worker"},
			Preferences: []*api.PlacementPreference{{Spread: "node.labels.rack"}},
		},
	}
	for _, size := range []struct{ nodes, tasks int }{{1000, 300}, {1000, 1000}, {1000, 10000}, {5000, 300}} {
		b.Run(fmt.Sprintf("plain/nodes=%d/tasks=%d", size.nodes, size.tasks), func(b *testing.B) {
			benchPlace(b, size.nodes, size.tasks, size.tasks, &api.ServiceSpec{})
		})
	}
	b.Run("constraints/nodes=1000/tasks=10000", func(b *testing.B) { benchPlace(b, 1000, 10000, 10000, constrained) })
	// The worst case for grouping: every task is alone.
	b.Run("one-by-one/nodes=1000/tasks=10000", func(b *testing.B) { benchPlace(b, 1000, 10000, 1, &api.ServiceSpec{}) })
}

func benchPlace(b *testing.B, nodes, tasks, group int, spec *api.ServiceSpec) {
	rows := make([]*api.Node, nodes)
	for i := range rows {
		rows[i] = mkNode(fmt.Sprintf("n%05d", i), label("rack", fmt.Sprintf("r%d", i%20)))
	}
	all := ids(tasks)
	placed := 0
	for b.Loop() {
		b.StopTimer()
		s := state(rows...)
		s.sorted()
		b.StartTimer()
		for at := 0; at < tasks; at += group {
			for _, p := range s.Place(Group{ServiceID: "s", Spec: spec, TaskIDs: all[at : at+group], Routable: true}) {
				if p.NodeID == "" {
					b.Fatal(p.Reason)
				}
				placed++
			}
		}
	}
	b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "tasks/s")
}
