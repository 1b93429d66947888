package orchestrator

import (
	"cmp"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// shared is what the passes of one transaction have in common.
type shared struct {
	tx        *store.Tx
	now       time.Time
	log       *slog.Logger
	ids       *idSource
	health    *health
	addresses *addresses
}

func newShared(tx *store.Tx, now time.Time, log *slog.Logger, ids *idSource) *shared {
	return &shared{tx: tx, now: now, log: log, ids: ids, health: newHealth(tx, now), addresses: newAddresses(tx)}
}

// pass looks at one service once. Its steps change copies in memory; flush writes them.
type pass struct {
	*shared
	svc        *api.Service // nil: the row is gone
	svcChanged bool
	svcGone    bool
	tasks      []*task // in order of creation
	slots      []*slot // wanted and unwanted, in order
	revisions  map[uint64]*api.Revision
	created    int
	wake       time.Time // when something is due that no event tells of; zero: nothing is
}

// task is a row and what the pass did to it.
type task struct {
	*api.Task
	changed, created, gone bool
}

// maxCreated bounds the new tasks of a service in one transaction, so that a log entry stays small.
const maxCreated = 1000

func newPass(s *shared, serviceID string) *pass {
	p := &pass{shared: s, svc: s.tx.Services().Get(serviceID), revisions: map[uint64]*api.Revision{}}
	for t := range s.tx.Tasks().All(store.ByService(serviceID)) {
		p.tasks = append(p.tasks, &task{Task: t})
	}
	slices.SortStableFunc(p.tasks, func(a, b *task) int {
		return cmp.Or(a.createdAt().Compare(b.createdAt()), cmp.Compare(a.Id, b.Id))
	})
	return p
}

// run does the steps. Each sees what the ones before it did.
func (p *pass) run() {
	p.lose()          // tasks whose node is gone are orphaned
	p.settle(p.tasks) // tasks that are to stop and never reached a node have ended
	if p.svc == nil || p.svc.PendingDelete {
		p.remove()
		return
	}
	p.group()
	if p.awaitsEndpoint() {
		return // the allocator's commit calls us again
	}
	p.scale()       // as many slots as the spec wants
	p.update()      // slots whose task is of another revision or must leave its node
	p.restart()     // slots whose task has ended
	p.promote()     // tasks that waited for their predecessor's end
	p.giveAddress() // NEW to PENDING
	p.reap()        // rows that are no longer needed
}

// edit returns the row of a task for a change.
func (p *pass) edit(t *task) *api.Task {
	if !t.changed && !t.created {
		t.Task, t.changed = proto.CloneOf(t.Task), true
		if t.Status == nil {
			t.Status = &api.TaskStatus{}
		}
	}
	return t.Task
}

// editService returns the service's row for a change.
func (p *pass) editService() *api.Service {
	if !p.svcChanged {
		p.svc, p.svcChanged = proto.CloneOf(p.svc), true
	}
	return p.svc
}

// want raises the desired state of a task; it never goes back.
func (p *pass) want(t *task, s api.TaskState) {
	if t.DesiredState < s {
		p.edit(t).DesiredState = s
	}
}

// end writes the status of a task that no agent will report on any more.
func (p *pass) end(t *task, s api.TaskState, message string) {
	p.edit(t).Status = &api.TaskStatus{State: s, Timestamp: timestamppb.New(p.now), Message: message,
		Container: t.GetStatus().GetContainer()}
}

// comeBack asks for another pass at a time.
func (p *pass) comeBack(at time.Time) {
	if p.wake.IsZero() || at.Before(p.wake) {
		p.wake = at
	}
}

// revision returns a revision's row, nil if it is gone.
func (p *pass) revision(number uint64) *api.Revision {
	if _, known := p.revisions[number]; !known {
		p.revisions[number] = p.tx.Revisions().Get(p.svc.Id + "." + strconv.FormatUint(number, 10))
	}
	return p.revisions[number]
}

// flush writes the difference.
func (p *pass) flush() error {
	for _, t := range p.tasks {
		var err error
		switch {
		case t.created && t.gone:
		case t.created:
			err = p.tx.Tasks().Create(t.Task)
		case t.gone:
			err = p.tx.Tasks().Delete(t.Id)
		case t.changed:
			err = p.tx.Tasks().Update(t.Task)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case p.svcGone:
		return p.tx.Services().Delete(p.svc.Id)
	case p.svcChanged:
		return p.tx.Services().Update(p.svc)
	}
	return nil
}

func (t *task) state() api.TaskState { return t.GetStatus().GetState() }

// ended: it will never run (again).
func (t *task) ended() bool { return t.state() > api.TaskState_RUNNING }

// wanted: it is meant to run, whether or not it does.
func (t *task) wanted() bool { return t.DesiredState <= api.TaskState_RUNNING && !t.gone }

// live: it is meant to run and may still do so.
func (t *task) live() bool { return t.wanted() && !t.ended() }

// up: it runs, and answers if it has a health check.
func (t *task) up() bool {
	h := t.GetStatus().GetContainer().GetHealth()
	return t.state() == api.TaskState_RUNNING && (h == "" || h == "healthy")
}

// failed: it ended though it should not have.
func (t *task) failed() bool {
	return t.state() == api.TaskState_FAILED || t.state() == api.TaskState_REJECTED
}

// Times of tasks are those of the leader that wrote the row, not of the agents' clocks.
func (t *task) createdAt() time.Time { return t.GetMeta().GetCreatedAt().AsTime() }

// changedAt is when the row was written last: of a running task since when it runs, of one that
// has ended its end, as long as nothing else has changed it.
func (t *task) changedAt() time.Time { return t.GetMeta().GetUpdatedAt().AsTime() }
