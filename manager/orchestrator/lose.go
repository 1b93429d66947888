package orchestrator

import (
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// lose orphans the tasks of nodes that are lost. restart replaces them and thereby tells the node, should it come
// back, to stop them.
func (p *pass) lose() {
	guarded := p.svc != nil && !p.svc.PendingDelete // forgetting a removed service endangers nothing
	global := p.svc.GetSpec().GetMode().GetGlobal()
	held := ""
	for _, t := range p.tasks {
		if t.ended() || t.NodeId == "" {
			continue
		}
		f := p.health.of(t.NodeId, guarded)
		if !f.when.IsZero() {
			p.comeBack(f.when)
		}
		switch {
		case f.lost && t.state() < api.TaskState_ASSIGNED:
			p.want(t, api.TaskState_SHUTDOWN)
			p.end(t, api.TaskState_SHUTDOWN, f.why)
		case f.lost:
			p.end(t, api.TaskState_ORPHANED, f.why)
			if global {
				p.want(t, api.TaskState_SHUTDOWN) // its slot is the node; others get theirs from restart
			}
		case f.why != "" && t.GetStatus().GetErr() != f.why:
			p.edit(t).Status.Err = f.why
			held = f.why
		case f.why == "" && strings.HasPrefix(t.GetStatus().GetErr(), heldBack):
			p.edit(t).Status.Err = ""
		}
	}
	if held != "" {
		p.log.Warn("tasks of nodes that are down are not replaced", "service", p.svc.GetSpec().GetName(), "reason", held)
	}
}

// settle ends tasks that are to stop before any node has heard of them.
func (p *pass) settle(tasks []*task) {
	for _, t := range tasks {
		if !t.wanted() && t.state() < api.TaskState_ASSIGNED {
			p.end(t, api.TaskState_SHUTDOWN, "stopped before it was assigned to a node")
		}
	}
}
