package orchestrator

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// slot is a place that one task at a time fills: a number of a replicated service, a node of
// a global one. It is wanted as long as one of its tasks is meant to run, even if that task
// has ended: this is how the rows remember which slots there are.
type slot struct {
	number uint64
	node   string
	tasks  []*task // in order of creation
}

// group sorts the tasks into slots.
func (p *pass) group() {
	type key struct {
		number uint64
		node   string
	}
	by := map[key]*slot{}
	for _, t := range p.tasks {
		k := key{number: t.Slot}
		if t.Slot == 0 {
			k.node = t.NodeId
		}
		if by[k] == nil {
			by[k] = &slot{number: k.number, node: k.node}
			p.slots = append(p.slots, by[k])
		}
		by[k].tasks = append(by[k].tasks, t)
	}
	slices.SortFunc(p.slots, func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.node, b.node))
	})
}

func (p *pass) wantedSlots() (out []*slot) {
	for _, s := range p.slots {
		if s.wanted() {
			out = append(out, s)
		}
	}
	return out
}

func (s *slot) wanted() bool { return slices.ContainsFunc(s.tasks, (*task).wanted) }

// newest returns the task created last of those that fit, nil if none does.
func (s *slot) newest(fits func(*task) bool) *task {
	for i := len(s.tasks) - 1; i >= 0; i-- {
		if fits(s.tasks[i]) {
			return s.tasks[i]
		}
	}
	return nil
}

func (s *slot) up() bool {
	return slices.ContainsFunc(s.tasks, func(t *task) bool { return t.live() && t.up() })
}

// stopping: a task is on its way out and may still hold what the slot's next one needs.
func (s *slot) stopping() bool {
	return slices.ContainsFunc(s.tasks, func(t *task) bool { return !t.gone && !t.wanted() && !t.ended() })
}

// fill creates a task in a slot. Ended tasks that stood for the slot give way to it. The
// function change, if given, completes the row.
func (p *pass) fill(s *slot, revision uint64, change func(*api.Task)) {
	rev := p.revision(revision)
	if rev == nil {
		p.log.Error("no task created: the revision is gone", "service", p.svc.GetSpec().GetName(), "revision", revision)
		return
	}
	if p.created >= maxCreated {
		p.comeBack(p.now)
		return
	}
	p.created++
	row := &api.Task{
		Id: p.ids.next(), ServiceId: p.svc.Id, ServiceName: p.svc.GetSpec().GetName(), Revision: revision,
		Slot: s.number, NodeId: s.node, DesiredState: api.TaskState_RUNNING, HostPorts: hostPorts(rev.Spec),
		Status: &api.TaskStatus{State: api.TaskState_NEW, Timestamp: timestamppb.New(p.now), Message: "created"},
	}
	if s.stopping() {
		row.DesiredState = api.TaskState_READY // promote lets it go on
	}
	if change != nil {
		change(row)
	}
	for _, t := range s.tasks {
		if t.ended() {
			p.want(t, api.TaskState_SHUTDOWN)
		}
	}
	t := &task{Task: row, created: true}
	s.tasks = append(s.tasks, t)
	p.tasks = append(p.tasks, t)
}

func hostPorts(spec *api.ServiceSpec) (out []*api.PortConfig) {
	for _, c := range spec.GetEndpoint().GetPorts() {
		if c.Mode == api.PublishMode_HOST {
			out = append(out, c)
		}
	}
	return out
}

// promote lets tasks run that waited for the end of their predecessor.
func (p *pass) promote() {
	for _, s := range p.slots {
		if s.stopping() {
			continue
		}
		for _, t := range s.tasks {
			if t.live() && t.DesiredState < api.TaskState_RUNNING {
				p.want(t, api.TaskState_RUNNING)
			}
		}
	}
}
