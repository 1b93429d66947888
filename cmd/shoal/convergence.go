package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// convergence is what is known of a service on its way to what its spec asks for. It is fed with rows and
// changes and says how far things are; it neither asks nor prints.
type convergence struct {
	service  *api.Service
	tasks    map[string]*api.Task
	nodes    map[string]*api.Node
	rollback bool // the user asked for a rollback, so it is no failure
}

// taskLine is one line of the view: a slot, or a node for a global service.
type taskLine struct {
	name   string
	state  api.TaskState
	reason string // why it waits or what went wrong last
}

// progress is the view of one moment.
type progress struct {
	running, wanted int
	lines           []taskLine
	note            string // what the updater says
	done            bool
	err             error // it will not get there by itself
}

func newConvergence(s *api.Service, tasks []*api.TaskInfo, nodes []*api.Node) *convergence {
	v := &convergence{service: s, tasks: map[string]*api.Task{}, nodes: map[string]*api.Node{}}
	for _, t := range tasks {
		v.tasks[t.Task.Id] = t.Task
	}
	for _, n := range nodes {
		v.nodes[n.Id] = n
	}
	return v
}

// apply takes in one change of the store. Rows of other services are left out.
func (v *convergence) apply(ch *api.Change) {
	gone := ch.Kind == api.ChangeKind_DELETE
	switch o := ch.Object.GetKind().(type) {
	case *api.Object_Service:
		if o.Service.Id == v.service.Id {
			if gone {
				v.service = nil
			} else {
				v.service = o.Service
			}
		}
	case *api.Object_Task:
		put(v.tasks, o.Task.Id, o.Task, gone || o.Task.ServiceId != v.service.GetId())
	case *api.Object_Node:
		put(v.nodes, o.Node.Id, o.Node, gone)
	}
}

func put[T any](m map[string]T, id string, v T, gone bool) {
	if gone {
		delete(m, id)
	} else {
		m[id] = v
	}
}

// look computes the view.
func (v *convergence) look() progress {
	if v.service == nil || v.service.PendingDelete {
		return progress{err: fmt.Errorf("the service was removed meanwhile")}
	}
	var p progress
	if v.service.Spec.GetMode().GetGlobal() {
		p = v.lookGlobal()
	} else {
		p = v.lookReplicated()
	}
	if v.service.AllocationError != "" {
		p.note = v.service.AllocationError
	}
	v.judge(&p)
	return p
}

// judge decides from the counts and from what the updater says.
func (v *convergence) judge(p *progress) {
	s := v.service.GetUpdateStatus()
	switch s.GetState() {
	case api.UpdateStatus_UPDATING:
		p.done = false
	case api.UpdateStatus_PAUSED:
		p.done, p.err = false, fmt.Errorf("service update paused: %s", orElse(s.GetMessage(), "see 'shoal service ps'"))
	case api.UpdateStatus_ROLLBACK_STARTED:
		p.done = false
		p.note = "rolling back: " + orElse(s.GetMessage(), "the update failed")
		if v.rollback {
			p.note = ""
		}
	case api.UpdateStatus_ROLLBACK_PAUSED:
		p.done, p.err = false, fmt.Errorf("service rollback paused: %s", orElse(s.GetMessage(), "see 'shoal service ps'"))
	case api.UpdateStatus_ROLLBACK_COMPLETED:
		if !v.rollback && p.done {
			p.err = fmt.Errorf("service rolled back: %s", orElse(s.GetMessage(), "the update failed"))
		}
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (v *convergence) lookReplicated() progress {
	wanted := v.service.Spec.GetMode().GetReplicas()
	slots := v.group(func(t *api.Task) string { return fmt.Sprint(t.Slot) })
	p := progress{wanted: int(wanted)}
	extra := 0
	for name, ts := range slots {
		var n uint64
		fmt.Sscan(name, &n)
		if n > wanted && v.wished(ts) != nil {
			extra++ // a scale down has not reached this slot yet
		}
	}
	for n := uint64(1); n <= wanted; n++ {
		line := v.line(fmt.Sprintf("%d/%d", n, wanted), slots[fmt.Sprint(n)])
		if line.state == api.TaskState_RUNNING {
			p.running++
		}
		p.lines = append(p.lines, line)
	}
	p.done = p.running == p.wanted && extra == 0
	return p
}

// lookGlobal has one line a node. The orchestrator makes the tasks of all fitting nodes at once, so that the
// tasks there are tell how many are wanted.
func (v *convergence) lookGlobal() progress {
	var p progress
	byNode := v.group(func(t *api.Task) string { return t.NodeId })
	for id, ts := range byNode {
		if v.wished(ts) == nil && v.anyWished(ts) == nil {
			continue
		}
		if v.nodes[id].GetStatus().GetState() == api.NodeStatus_DOWN {
			continue
		}
		line := v.line(v.nodeName(id), ts)
		p.wanted++
		if line.state == api.TaskState_RUNNING {
			p.running++
		}
		p.lines = append(p.lines, line)
	}
	slices.SortFunc(p.lines, func(a, b taskLine) int { return strings.Compare(a.name, b.name) })
	p.done = p.running == p.wanted && p.wanted > 0
	return p
}

func (v *convergence) nodeName(id string) string {
	if name := v.nodes[id].GetDescription().GetHostname(); name != "" {
		return name
	}
	return shortID(id)
}

func (v *convergence) group(key func(*api.Task) string) map[string][]*api.Task {
	m := map[string][]*api.Task{}
	for _, t := range v.tasks {
		m[key(t)] = append(m[key(t)], t)
	}
	for _, ts := range m {
		slices.SortFunc(ts, newerTask)
	}
	return m
}

// newerTask sorts the newest first.
func newerTask(a, b *api.Task) int {
	if c := b.GetMeta().GetCreatedAt().AsTime().Compare(a.GetMeta().GetCreatedAt().AsTime()); c != 0 {
		return c
	}
	return strings.Compare(b.Id, a.Id)
}

// wished is a slot's newest task of the current revision that is meant to run, anyWished of any revision.
func (v *convergence) wished(ts []*api.Task) *api.Task {
	for _, t := range ts {
		if t.DesiredState <= api.TaskState_RUNNING && t.Revision == v.service.Revision {
			return t
		}
	}
	return nil
}

func (v *convergence) anyWished(ts []*api.Task) *api.Task {
	for _, t := range ts {
		if t.DesiredState <= api.TaskState_RUNNING {
			return t
		}
	}
	return nil
}

// line describes a slot by its current task and, while that is not up, by what ended the one before.
func (v *convergence) line(name string, ts []*api.Task) taskLine {
	l := taskLine{name: name, state: api.TaskState_NEW}
	t := v.wished(ts)
	if t != nil {
		l.state, l.reason = t.Status.GetState(), t.Status.GetErr()
		if l.state == api.TaskState_RUNNING && v.nodes[t.NodeId].GetStatus().GetState() == api.NodeStatus_DOWN {
			l.state, l.reason = api.TaskState_ORPHANED, "its node is down"
		}
	}
	if l.reason == "" && l.state < api.TaskState_RUNNING {
		l.reason = v.lastFailure(ts)
	}
	return l
}

func (v *convergence) lastFailure(ts []*api.Task) string {
	for _, t := range ts {
		failed := t.Status.GetState() == api.TaskState_FAILED || t.Status.GetState() == api.TaskState_REJECTED
		if failed && t.Revision == v.service.Revision && t.Status.GetErr() != "" {
			return t.Status.GetErr()
		}
	}
	return ""
}
