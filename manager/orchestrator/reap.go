package orchestrator

import (
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// defaultHistory is how many ended tasks a slot keeps for `service ps`.
const defaultHistory = 5

// remove stops all tasks of a service that is going, and deletes it with the last of them.
func (p *pass) remove() {
	left := 0
	for _, t := range p.tasks {
		p.want(t, api.TaskState_REMOVE)
		if t.state() < api.TaskState_ASSIGNED || t.ended() {
			t.gone = true
		} else {
			left++
		}
	}
	if left > 0 || p.svc == nil {
		return
	}
	for _, rev := range p.tx.Revisions().List(store.ByService(p.svc.Id)) {
		p.forget(rev)
	}
	p.svcGone = true
}

// reap deletes the rows of ended tasks that nobody asks for any more, and of revisions that nothing refers to.
func (p *pass) reap() {
	for _, s := range p.slots {
		kept := 0
		for i := len(s.tasks) - 1; i >= 0; i-- {
			t := s.tasks[i]
			if t.wanted() || !t.ended() {
				continue
			}
			if kept++; kept > p.history() || t.DesiredState == api.TaskState_REMOVE || s.nodeGone(p.health) {
				t.gone = true
			}
		}
	}
	p.reapRevisions()
}

// history is the number of ended tasks that a slot keeps; a restart policy with a window counts them, too.
func (p *pass) history() int {
	policy := p.svc.GetSpec().GetRestart()
	if policy.GetWindow().AsDuration() > 0 {
		return max(p.health.limit, int(min(policy.GetMaxAttempts(), 1000))+1)
	}
	return p.health.limit
}

// nodeGone: the slot of a global service on a node that has been removed will never be filled again.
func (s *slot) nodeGone(h *health) bool {
	return s.number == 0 && s.node != "" && h.nodes[s.node] == nil
}

func (p *pass) reapRevisions() {
	revs := p.tx.Revisions().List(store.ByService(p.svc.Id))
	if len(revs) <= 2 {
		return
	}
	used := map[uint64]bool{p.svc.Revision: true, p.svc.PreviousRevision: true}
	for _, t := range p.tasks {
		if !t.gone {
			used[t.Revision] = true
		}
	}
	for _, rev := range revs {
		if !used[rev.Number] {
			p.forget(rev)
		}
	}
}

func (p *pass) forget(rev *api.Revision) {
	if err := p.tx.Revisions().Delete(rev.Id); err != nil {
		p.log.Error("revision not deleted", "service", rev.ServiceId, "revision", rev.Number, "error", err)
	}
}

func cloneSpec(s *api.ServiceSpec) *api.ServiceSpec { return proto.CloneOf(s) }
