package orchestrator

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

const (
	defaultParallelism = 1
	defaultMonitor     = 5 * time.Second
)

// The updater brings slots to the service's revision and off nodes that they must leave, a few
// at a time. Where it stands is read from the tasks: a slot is done when its task of the right
// revision has been up for the delay; a slot has failed when such a task failed since the
// update began. Only what cannot be read from them is in Service.update_status.

// update moves the update on by one step.
func (p *pass) update() {
	p.begin()
	if p.updating() {
		p.judge()
	}
	p.roll()
	if p.updating() {
		p.finish()
	}
}

func (p *pass) updateState() api.UpdateStatus_State { return p.svc.GetUpdateStatus().GetState() }

// updating: an update or rollback is under way or has been paused.
func (p *pass) updating() bool {
	switch p.updateState() {
	case api.UpdateStatus_UPDATING, api.UpdateStatus_ROLLBACK_STARTED, api.UpdateStatus_PAUSED, api.UpdateStatus_ROLLBACK_PAUSED:
		return true
	}
	return false
}

func (p *pass) paused() bool {
	return p.updateState() == api.UpdateStatus_PAUSED || p.updateState() == api.UpdateStatus_ROLLBACK_PAUSED
}

func (p *pass) rollingBack() bool {
	return p.updateState() == api.UpdateStatus_ROLLBACK_STARTED || p.updateState() == api.UpdateStatus_ROLLBACK_PAUSED
}

func (p *pass) updateConfig() *api.UpdateConfig {
	if p.rollingBack() {
		return p.svc.GetSpec().GetRollback()
	}
	return p.svc.GetSpec().GetUpdate()
}

// begin notes the start of an update: control has pointed the service at another revision and taken the old status
// away, or a slot has a task of another revision only. A service whose new spec cannot have its ports or addresses
// waits for those first.
func (p *pass) begin() {
	if p.updating() || p.svc.AllocationError != "" {
		return
	}
	asked := p.svc.UpdateStatus == nil && p.svc.PreviousRevision != 0
	if asked || slices.ContainsFunc(p.wantedSlots(), func(s *slot) bool { return s.newest((*task).wanted).Revision != p.svc.Revision }) {
		p.setUpdate(api.UpdateStatus_UPDATING, "update in progress")
	}
}

func (p *pass) setUpdate(s api.UpdateStatus_State, message string) {
	u := &api.UpdateStatus{State: s, StartedAt: p.svc.GetUpdateStatus().GetStartedAt(), Message: message}
	switch s {
	case api.UpdateStatus_UPDATING, api.UpdateStatus_ROLLBACK_STARTED:
		u.StartedAt = timestamppb.New(p.now)
	case api.UpdateStatus_COMPLETED, api.UpdateStatus_ROLLBACK_COMPLETED:
		u.CompletedAt = timestamppb.New(p.now)
	}
	p.editService().UpdateStatus = u
}

// judge stops an update of which too much fails, as its failure action says.
func (p *pass) judge() {
	if p.paused() {
		return
	}
	slots := p.wantedSlots()
	failed, example := 0, (*task)(nil)
	for _, s := range slots {
		if t := p.failure(s); t != nil {
			failed++
			example = t
		}
	}
	cfg := p.updateConfig()
	if failed == 0 || float64(failed) <= float64(cfg.GetMaxFailureRatio())*float64(len(slots)) {
		return
	}
	why := fmt.Sprintf("%d of %d tasks failed, the last: %s: %s", failed, len(slots), taskName(example.Task), example.GetStatus().GetErr())
	switch {
	case cfg.GetFailureAction() == api.UpdateConfig_FAIL_CONTINUE:
		return
	case p.rollingBack():
		p.setUpdate(api.UpdateStatus_ROLLBACK_PAUSED, "rollback paused: "+why)
	case cfg.GetFailureAction() == api.UpdateConfig_FAIL_ROLLBACK && p.rollBack():
		p.setUpdate(api.UpdateStatus_ROLLBACK_STARTED, "update rolled back: "+why)
	default:
		p.setUpdate(api.UpdateStatus_PAUSED, "update paused: "+why)
	}
	p.log.Warn("update stopped", "service", p.svc.GetSpec().GetName(), "state", p.updateState().String(), "reason", why)
}

// failure returns a task of the new revision that failed since the update began.
func (p *pass) failure(s *slot) *task {
	began := p.svc.GetUpdateStatus().GetStartedAt().AsTime()
	return s.newest(func(t *task) bool {
		return t.failed() && t.Revision == p.svc.Revision && !t.createdAt().Before(began)
	})
}

// rollBack puts the previous revision's spec back. What is not part of a revision (labels, replicas, update settings)
// stays. False: there is none to go back to.
func (p *pass) rollBack() bool {
	previous := p.revision(p.svc.PreviousRevision)
	if previous == nil {
		return false
	}
	svc := p.editService()
	now := svc.Spec
	svc.Spec = cloneSpec(previous.Spec)
	svc.Spec.Labels, svc.Spec.Update, svc.Spec.Rollback = now.Labels, now.Update, now.Rollback
	if svc.Spec.Mode != nil {
		svc.Spec.Mode.Replicas = now.GetMode().GetReplicas()
	}
	svc.Revision, svc.PreviousRevision = svc.PreviousRevision, svc.Revision
	return true
}

// progress is how far a slot has come.
type progress struct {
	goal *task   // the task that is to stay, nil: it has yet to be made
	old  []*task // live tasks that must make way
}

func (p *pass) progressOf(s *slot) progress {
	var g progress
	target := p.target(s)
	for i := len(s.tasks) - 1; i >= 0; i-- {
		t := s.tasks[i]
		switch {
		case !t.live():
		case g.goal == nil && t.Revision == target && p.leaves(t) == "":
			g.goal = t
		default:
			g.old = append(g.old, t)
		}
	}
	return g
}

// target is the revision a slot should have. A paused update leaves each as it is.
func (p *pass) target(s *slot) uint64 {
	if !p.paused() && p.svc.AllocationError == "" {
		return p.svc.Revision
	}
	if t := s.newest((*task).live); t != nil {
		return t.Revision
	}
	return s.newest((*task).wanted).Revision
}

// leaves returns why a task must be moved to another node. Tasks of global services are not moved but stopped.
func (p *pass) leaves(t *task) string {
	if t.NodeId == "" || t.Slot == 0 {
		return ""
	}
	rev := p.revision(t.Revision)
	return p.health.mayKeep(t.NodeId, rev.GetSpec())
}

// roll ends finished slots' old tasks and begins with new slots within the parallelism. A slot that only moves is begun with at once
// if its task goes on until the new one is up: nothing is lost by it, and whoever drains a node waits for it to be empty.
func (p *pass) roll() {
	cfg := p.updateConfig()
	var dirty, moves []*slot
	busy := 0
	for _, s := range p.wantedSlots() {
		g := p.progressOf(s)
		switch {
		case g.goal == nil && p.startsFirst(cfg) && p.onlyMoves(s, g):
			moves = append(moves, s)
		case g.goal == nil && len(g.old) > 0, g.goal == nil && p.outdated(s):
			dirty = append(dirty, s)
		case g.goal == nil:
			// Its task has ended: restart's business.
		default:
			p.relieve(s, g)
			if p.busy(s, g.goal, cfg) {
				busy++
			}
		}
	}
	budget := len(dirty)
	if n := parallelism(cfg); n > 0 {
		budget = min(budget, n-busy)
	}
	// What does not run has nothing to lose.
	slices.SortStableFunc(dirty, func(a, b *slot) int { return boolOrder(a.up(), b.up()) })
	for _, s := range append(moves, dirty[:max(budget, 0)]...) {
		p.replace(s, cfg)
	}
}

// onlyMoves: the slot's task is what it should be, but not where.
func (p *pass) onlyMoves(s *slot, g progress) bool {
	return len(g.old) > 0 && !slices.ContainsFunc(g.old, func(t *task) bool { return t.Revision != p.target(s) })
}

// startsFirst: tasks go on until those in their place are up. Two tasks cannot have one port of a node.
func (p *pass) startsFirst(cfg *api.UpdateConfig) bool {
	return cfg.GetOrder() == api.UpdateConfig_START_FIRST && len(hostPorts(p.svc.GetSpec())) == 0
}

// relieve stops what the goal makes superfluous: the tasks before it once it is up, and ended
// ones that stood for the slot.
func (p *pass) relieve(s *slot, g progress) {
	if g.goal.up() {
		for _, t := range g.old {
			p.want(t, api.TaskState_SHUTDOWN)
		}
	}
	for _, t := range s.tasks {
		if t.wanted() && t.ended() {
			p.want(t, api.TaskState_SHUTDOWN)
		}
	}
}

// outdated: the slot's task has ended and belonged to another revision.
func (p *pass) outdated(s *slot) bool {
	t := s.newest((*task).wanted)
	return t.ended() && t.Revision != p.target(s) && t.state() != api.TaskState_ORPHANED
}

// busy: the slot is being changed and counts against the parallelism. One that has failed does not: whether that
// stops the update is for judge to say.
func (p *pass) busy(s *slot, goal *task, cfg *api.UpdateConfig) bool {
	changing := slices.ContainsFunc(s.tasks, func(t *task) bool { return t != goal && !t.gone })
	if !changing || p.updating() && p.failure(s) != nil {
		return false
	}
	if !goal.up() {
		return true
	}
	if !p.updating() {
		return false
	}
	until := goal.changedAt().Add(cfg.GetDelay().AsDuration())
	if goal.createdAt().Before(p.svc.GetUpdateStatus().GetStartedAt().AsTime()) || !p.now.Before(until) {
		return false
	}
	p.comeBack(until)
	return true
}

// replace begins to change one slot.
func (p *pass) replace(s *slot, cfg *api.UpdateConfig) {
	revision := p.target(s)
	if p.revision(revision) == nil {
		p.log.Error("task not replaced: the revision is gone", "service", p.svc.GetSpec().GetName(), "revision", revision)
		return
	}
	if p.created >= maxCreated {
		p.comeBack(p.now)
		return
	}
	var stays *task // start-first: the one task that serves until the new one does
	if p.startsFirst(cfg) {
		stays = s.newest(func(t *task) bool { return t.live() && t.up() })
	}
	for _, t := range s.tasks {
		if t.live() && t != stays {
			p.want(t, api.TaskState_SHUTDOWN)
		}
	}
	p.settle(s.tasks)
	failed := s.newest(func(t *task) bool { return t.failed() && t.Revision == revision })
	p.fill(s, revision, func(row *api.Task) {
		if failed != nil { // a new try of what failed waits as a restart does
			row.RestartCount = failed.RestartCount + 1
			row.NotBefore = p.notBefore(s, failed)
		}
	})
}

// finish completes the update when every slot's task has been up for the monitor period.
func (p *pass) finish() {
	if p.paused() || p.svc.AllocationError != "" {
		return
	}
	monitor := defaultMonitor
	if m := p.updateConfig().GetMonitor(); m != nil {
		monitor = m.AsDuration()
	}
	stable := p.svc.GetUpdateStatus().GetStartedAt().AsTime()
	slots := p.wantedSlots()
	if len(slots) == 0 {
		monitor = 0
	}
	for _, s := range slots {
		g := p.progressOf(s)
		switch {
		case g.goal == nil && len(g.old) == 0 && !p.outdated(s) && p.over(s):
			continue
		case g.goal == nil || len(g.old) > 0 || !g.goal.up() || g.goal.created:
			return
		}
		if at := g.goal.changedAt(); at.After(stable) {
			stable = at
		}
	}
	if until := stable.Add(monitor); p.now.Before(until) {
		p.comeBack(until)
		return
	}
	if p.rollingBack() {
		p.setUpdate(api.UpdateStatus_ROLLBACK_COMPLETED, "rollback completed")
	} else {
		p.setUpdate(api.UpdateStatus_COMPLETED, "update completed")
	}
}

// over: the slot's task ran to its end, or failed and is not restarted any more. That the update goes on nevertheless is
// judge's word.
func (p *pass) over(s *slot) bool {
	t := s.newest((*task).wanted)
	return t.state() == api.TaskState_COMPLETE || t.failed() && p.restartable(s, t) != ""
}

// parallelism is how many slots may change at a time; 0: all.
func parallelism(cfg *api.UpdateConfig) int {
	if cfg == nil {
		return defaultParallelism
	}
	return int(cfg.Parallelism)
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// taskName is how a person knows a task: SERVICE.SLOT.
func taskName(t *api.Task) string {
	if t.Slot == 0 {
		return t.ServiceName + " on node " + t.NodeId
	}
	return fmt.Sprintf("%s.%d", t.ServiceName, t.Slot)
}
