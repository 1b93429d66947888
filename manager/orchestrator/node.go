package orchestrator

import (
	"fmt"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/internal/constraint"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	defaultLostAfter = 2 * time.Second
	// together is how close in time nodes go down that share a cause.
	together = 30 * time.Second
)

// health is what the rows say about all nodes.
type health struct {
	now       time.Time
	lostAfter time.Duration
	nodes     map[string]*api.Node
	order     []*api.Node
	answering int
	down      []*api.Node
	limit     int // ended tasks kept per slot
}

func newHealth(tx *store.Tx, now time.Time) *health {
	h := &health{now: now, lostAfter: defaultLostAfter, nodes: map[string]*api.Node{}, order: tx.Nodes().List(), limit: defaultHistory}
	spec := tx.Cluster().GetSpec()
	if d := spec.GetLostAfter(); d != nil {
		h.lostAfter = d.AsDuration()
	}
	if n := spec.GetTaskHistoryLimit(); n != 0 {
		h.limit = int(n)
	}
	for _, n := range h.order {
		h.nodes[n.Id] = n
		switch n.GetStatus().GetState() {
		case api.NodeStatus_DOWN:
			h.down = append(h.down, n)
		case api.NodeStatus_READY, api.NodeStatus_DISCONNECTED:
			h.answering++
		}
	}
	return h
}

// fate is what a node's state means for the tasks on it.
type fate struct {
	lost bool
	why  string    // lost: the reason; else why its tasks are not replaced though it is down, if so
	when time.Time // not lost yet, but then
}

// of returns a node's fate. guarded: if more than half of the nodes went down together, none of them counts as
// lost: it is more likely that we are the ones who are cut off.
func (h *health) of(id string, guarded bool) fate {
	n := h.nodes[id]
	if n == nil {
		return fate{lost: true, why: "its node was removed from the cluster"}
	}
	if n.GetStatus().GetState() != api.NodeStatus_DOWN {
		return fate{}
	}
	since := n.GetStatus().GetSince().AsTime()
	if at := since.Add(h.lostAfter); h.now.Before(at) {
		return fate{when: at}
	}
	if guarded {
		if gone := h.wentWith(since); 2*gone > h.answering+gone {
			return fate{why: fmt.Sprintf("%s%d of %d nodes went down together", heldBack, gone, h.answering+gone)}
		}
	}
	return fate{lost: true, why: fmt.Sprintf("node %s is lost: down for more than %s", hostname(n), h.lostAfter)}
}

// heldBack begins the explanation in the tasks of nodes that are down in such numbers.
const heldBack = "node down, task not replaced: "

func (h *health) wentWith(since time.Time) int {
	n := 0
	for _, d := range h.down {
		if d.GetStatus().GetSince().AsTime().Sub(since).Abs() <= together {
			n++
		}
	}
	return n
}

// mayKeep returns why a running task must leave a node, "" if it may stay. A paused node keeps its tasks.
func (h *health) mayKeep(id string, spec *api.ServiceSpec) string {
	n := h.nodes[id]
	if n == nil {
		return "" // lose has dealt with it
	}
	if n.GetSpec().GetAvailability() == api.NodeSpec_DRAIN {
		return fmt.Sprintf("node %s is drained", hostname(n))
	}
	cs, err := constraint.Parse(spec.GetPlacement().GetConstraints())
	if err != nil {
		return "" // control refuses such specs; nothing is to be stopped for it
	}
	if c, unmet := constraint.Unmet(cs, facts(n)); unmet {
		return fmt.Sprintf("node %s no longer meets constraint %s", hostname(n), c)
	}
	return ""
}

// mayStart says whether a global service should have a task on the node.
func (h *health) mayStart(n *api.Node, spec *api.ServiceSpec) bool {
	return n.GetStatus().GetState() == api.NodeStatus_READY && n.GetSpec().GetAvailability() == api.NodeSpec_ACTIVE &&
		h.mayKeep(n.Id, spec) == "" && fitsPlatform(n, spec.GetPlacement().GetPlatforms())
}

func fitsPlatform(n *api.Node, want []*api.Platform) bool {
	have := n.GetDescription().GetPlatform()
	for _, w := range want {
		if (w.Os == "" || strings.EqualFold(w.Os, have.GetOs())) &&
			(w.Architecture == "" || constraint.Arch(w.Architecture) == constraint.Arch(have.GetArchitecture())) {
			return true
		}
	}
	return len(want) == 0
}

func facts(n *api.Node) constraint.Facts {
	role := "worker"
	if n.Role == api.NodeRole_MANAGER {
		role = "manager"
	}
	d := n.GetDescription()
	return constraint.Facts{ID: n.Id, Hostname: d.GetHostname(), Role: role, OS: d.GetPlatform().GetOs(),
		Arch: d.GetPlatform().GetArchitecture(), Labels: n.GetSpec().GetLabels(), EngineLabels: d.GetEngineLabels()}
}

func hostname(n *api.Node) string {
	if h := n.GetDescription().GetHostname(); h != "" {
		return h
	}
	return n.Id
}
