package scheduler

import (
	"fmt"

	"github.com/shoal-dev/shoal/proto/api"
)

// Group is a number of tasks of one revision of a service.
type Group struct {
	ServiceID string
	Spec      *api.ServiceSpec // of the revision
	TaskIDs   []string
	Routable  bool // the tasks get an address on their node's gateway subnet
	// Failures counts the service's recent failures by node ID. Nodes with many are used only
	// when the others are full.
	Failures map[string]int
}

// MaxFailures is how many recent failures make a node the last choice for a service.
const MaxFailures = 3

// Placement is where a task goes, or why it goes nowhere.
type Placement struct {
	TaskID string
	NodeID string // "" if there is no suitable node
	Reason string // for a person, if NodeID is ""
}

// candidate is a node with room for tasks of a group.
type candidate struct {
	*node
	room int
}

// Place finds a node for every task of the group and counts the tasks there. The answers are
// in the order of TaskIDs. If not all fit, the first tasks are placed and the rest get a reason.
func (s *State) Place(g Group) []Placement {
	out := make([]Placement, len(g.TaskIDs))
	for i, id := range g.TaskIDs {
		out[i].TaskID = id
	}
	fs, err := filtersFor(&g)
	if err != nil {
		return refuse(out, 0, "no suitable node ("+err.Error()+")")
	}
	good, bad := s.candidates(fs, g.Failures)
	placed := 0
	for _, nodes := range [][]candidate{good, bad} {
		if len(nodes) == 0 || placed == len(out) {
			continue
		}
		tree := newTree(g.ServiceID, g.Spec.GetPlacement().GetPreferences(), nodes)
		for placed < len(out) {
			n := tree.take()
			if n == nil {
				break
			}
			out[placed].NodeID = n.id
			s.SetTask(g.task(out[placed].TaskID, n.id))
			tree.settle()
			placed++
		}
	}
	if placed < len(out) {
		return refuse(out, placed, s.explain(fs))
	}
	return out
}

// Fit places one task on a node chosen already (global services). It returns "" or why the node cannot take it.
func (s *State) Fit(g Group, taskID, nodeID string) string {
	fs, err := filtersFor(&g)
	if err != nil {
		return err.Error()
	}
	n := s.nodes[nodeID]
	if n == nil || n.row == nil {
		return fmt.Sprintf("node %s is not there", nodeID)
	}
	for _, f := range fs {
		if room, why := f.check(n); room <= 0 {
			return fmt.Sprintf("node %s cannot take it: %s", n.facts.Hostname, f.explain(why, []*node{n}))
		}
	}
	s.SetTask(g.task(taskID, nodeID))
	return ""
}

// Explain says why no further task of the group can be placed; "" if one can.
func (s *State) Explain(g Group) string {
	fs, err := filtersFor(&g)
	if err != nil {
		return err.Error()
	}
	if good, bad := s.candidates(fs, nil); len(good)+len(bad) > 0 {
		return ""
	}
	return s.explain(fs)
}

func (g *Group) task(id, nodeID string) Task {
	return Task{ID: id, ServiceID: g.ServiceID, NodeID: nodeID, Reserved: g.Spec.GetReservations(),
		HostPorts: hostPorts(g.Spec), Routable: g.Routable, Wanted: true}
}

// candidates are the nodes with room; those where the service failed often are apart.
func (s *State) candidates(fs []filter, failed map[string]int) (good, bad []candidate) {
	for _, n := range s.sorted() {
		if n.row == nil {
			continue
		}
		room := unlimited
		for _, f := range fs {
			r, _ := f.check(n)
			if room = min(room, r); room <= 0 {
				break
			}
		}
		switch {
		case room <= 0:
		case failed[n.id] >= MaxFailures:
			bad = append(bad, candidate{n, room})
		default:
			good = append(good, candidate{n, room})
		}
	}
	return good, bad
}

func (s *State) explain(fs []filter) string {
	var fail failures
	for _, n := range s.sorted() {
		if n.row == nil {
			continue
		}
		for i, f := range fs {
			if room, why := f.check(n); room <= 0 {
				fail.add(i, why, n)
				break
			}
		}
	}
	return fail.text(fs)
}

func refuse(out []Placement, from int, reason string) []Placement {
	for i := from; i < len(out); i++ {
		out[i].Reason = reason
	}
	return out
}
