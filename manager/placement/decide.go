package placement

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
	"github.com/shoal-dev/shoal/scheduler"
)

// decision is a node for a task, or why there is none.
type decision struct {
	task, node, reason string
	routable           bool
}

// decide looks for places: for tasks that are new, and for all that wait if there may be more room now.
func (p *Placement) decide(tx *store.Tx, now time.Time) []decision {
	var out []decision
	for _, g := range p.groups(tx) {
		rev := revision(tx, g[0])
		if rev == nil {
			p.log.Error("task without a revision cannot be placed", "service", g[0].ServiceName, "task", g[0].Id)
			continue
		}
		group := scheduler.Group{ServiceID: g[0].ServiceId, Spec: rev.Spec, Routable: routable(tx, rev.Spec),
			Failures: failures(tx, g[0].ServiceId, now)}
		if g[0].NodeId != "" {
			for _, t := range g {
				out = append(out, decision{t.Id, t.NodeId, p.state.Fit(group, t.Id, t.NodeId), group.Routable})
			}
			continue
		}
		for _, t := range g {
			group.TaskIDs = append(group.TaskIDs, t.Id)
		}
		for _, pl := range p.state.Place(group) {
			out = append(out, decision{pl.TaskID, pl.NodeID, pl.Reason, group.Routable})
		}
	}
	p.grown = false
	return out
}

// groups are the waiting tasks by revision, the longest waiting first; tasks of one group
// either all have a node already or none has.
func (p *Placement) groups(tx *store.Tx) [][]*api.Task {
	type key struct {
		service  string
		revision uint64
		onNode   bool
	}
	by := map[key][]*api.Task{}
	for id, fresh := range p.waiting {
		if !fresh && !p.grown {
			continue
		}
		p.waiting[id] = false
		if t := tx.Tasks().Get(id); t != nil && isWaiting(t) {
			k := key{t.ServiceId, t.Revision, t.NodeId != ""}
			by[k] = append(by[k], t)
		}
	}
	older := func(a, b *api.Task) int {
		return cmp.Or(cmp.Compare(a.GetMeta().GetCreatedAt().AsTime().UnixNano(), b.GetMeta().GetCreatedAt().AsTime().UnixNano()),
			cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Id, b.Id))
	}
	out := make([][]*api.Task, 0, len(by))
	for _, g := range by {
		slices.SortFunc(g, older)
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b []*api.Task) int { return older(a[0], b[0]) })
	return out
}

// routable: the task gets an address on its node's gateway subnet, for the way out and for
// published ports. One that is only on internal networks, or has the host's network or none, does not.
func routable(tx *store.Tx, spec *api.ServiceSpec) bool {
	if len(spec.GetNetworks()) == 0 {
		return true
	}
	for _, a := range spec.GetNetworks() {
		if n := tx.Networks().Get(a.Network); n != nil && !n.GetSpec().GetInternal() {
			return true
		}
	}
	return false
}

// failureMemory is how long a failure counts against a node.
const failureMemory = 5 * time.Minute

// failures counts by node what failed there of a service lately.
func failures(tx *store.Tx, service string, now time.Time) map[string]int {
	out := map[string]int{}
	for t := range tx.Tasks().All(store.ByService(service)) {
		s := t.GetStatus()
		if s.GetState() != api.TaskState_FAILED && s.GetState() != api.TaskState_REJECTED {
			continue
		}
		// The row's time and not the report's: nodes' clocks may differ from the leader's.
		if now.Sub(t.GetMeta().GetUpdatedAt().AsTime()) < failureMemory {
			out[t.NodeId]++
		}
	}
	return out
}
