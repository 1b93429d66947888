package orchestrator

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

const (
	defaultRestartDelay = 5 * time.Second
	// calm is how many restart delays a slot must have been without a failure for its next restart to be immediate.
	calm = 10
)

// restart gives slots whose task has ended a new one, as far as the restart policy goes.
func (p *pass) restart() {
	for _, s := range p.slots {
		if !s.wanted() || s.newest((*task).live) != nil {
			continue
		}
		dead := s.newest((*task).wanted)
		if stay := p.restartable(s, dead); stay != "" {
			if dead.GetStatus().GetMessage() != stay {
				p.edit(dead).Status.Message = stay
			}
			continue
		}
		p.fill(s, p.restartRevision(dead), func(row *api.Task) {
			row.RestartCount = dead.RestartCount
			if dead.state() != api.TaskState_ORPHANED { // losing a node is not the task's failure
				row.RestartCount++
				row.NotBefore = p.notBefore(s, dead)
			}
		})
	}
}

// restartRevision: while an update is under way or stopped half-way, a task restarts as it was; the updater
// changes it in its turn.
func (p *pass) restartRevision(dead *task) uint64 {
	if p.updating() && p.revision(dead.Revision) != nil {
		return dead.Revision
	}
	return p.svc.Revision
}

// restartable returns "" or why the policy leaves an ended task as it is.
func (p *pass) restartable(s *slot, dead *task) string {
	policy := p.svc.GetSpec().GetRestart()
	switch {
	case dead.state() == api.TaskState_ORPHANED:
		return ""
	case policy.GetCondition() == api.RestartPolicy_NONE:
		return "not restarted: the restart condition is none"
	case policy.GetCondition() == api.RestartPolicy_ON_FAILURE && !dead.failed():
		return "done: the restart condition is on-failure"
	}
	most := policy.GetMaxAttempts()
	if most == 0 || p.restarts(s, dead) < most {
		return ""
	}
	return fmt.Sprintf("not restarted: %d attempts were made, the most that the restart policy allows", most)
}

// restarts counts a slot's restarts, those within the policy's window if it has one. The window
// ends with the task's end and not now, so that the answer does not change while time passes.
func (p *pass) restarts(s *slot, dead *task) uint64 {
	window := p.svc.GetSpec().GetRestart().GetWindow().AsDuration()
	if window <= 0 {
		return dead.RestartCount
	}
	return uint64(s.deathsBefore(dead, window))
}

// deathsBefore counts tasks of the slot and the same revision that ended by themselves within a time before dead did.
func (s *slot) deathsBefore(dead *task, d time.Duration) int {
	n := 0
	for _, t := range s.tasks {
		if t == dead || t.Revision != dead.Revision || !t.failed() && t.state() != api.TaskState_COMPLETE {
			continue
		}
		if dead.changedAt().Sub(t.changedAt()) <= d {
			n++
		}
	}
	return n
}

// notBefore delays a restart, unless the slot's last one was long ago. nil: start at once.
func (p *pass) notBefore(s *slot, dead *task) *timestamppb.Timestamp {
	delay := defaultRestartDelay
	if d := p.svc.GetSpec().GetRestart().GetDelay(); d != nil {
		delay = d.AsDuration()
	}
	at := dead.changedAt().Add(delay)
	if delay <= 0 || s.deathsBefore(dead, calm*delay) == 0 || !at.After(p.now) {
		return nil
	}
	if most := p.now.Add(delay); at.After(most) { // the leader before had a clock that is ahead of this one's
		at = most
	}
	return timestamppb.New(at)
}
