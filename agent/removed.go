//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// defaultRemovedAfter is for how long this node is refused before it believes that it was removed.
const defaultRemovedAfter = 5 * time.Second

// refusals are what managers said since one of them last took this node for a member. A manager asks the leader, who knows; one
// that has lost the others says that there is none, which is no refusal. But a manager that was made a cluster of its own, while
// the others go on, knows no node that came later: so it takes a majority, and some time.
type refusals struct {
	since time.Time
	by    map[string]bool // addresses
}

func (r *refusals) forget() { *r = refusals{} }

func (r *refusals) add(manager string) {
	if r.by == nil {
		*r = refusals{since: time.Now(), by: map[string]bool{}}
	}
	r.by[manager] = true
}

// sure says whether this node was removed.
func (r *refusals) sure(managers []string, after time.Duration) bool {
	said := 0
	for _, addr := range managers {
		if r.by[addr] {
			said++
		}
	}
	return said > len(managers)/2 && time.Since(r.since) >= after
}

// refused: a manager does not know this node. It may yet (its row may be young), so it goes on trying, slowly.
func (a *Agent) refused(ctx context.Context, manager string, err error) {
	a.refusals.add(manager)
	addrs, _ := a.managers.watch()
	sure := a.refusals.sure(addrs, a.cfg.RemovedAfter)
	if sure {
		if err := errors.Join(a.stopTasks(), a.leaveNetworks(ctx)); err != nil {
			a.log.Error("tasks of a cluster that has removed this node were not stopped, will try again", "error", err)
			sure = false
		}
	}
	if a.cfg.OnRemoved != nil {
		a.cfg.OnRemoved(err, sure)
	}
	pause.For(ctx, a.cfg.RemovedAfter/2)
}

// stopTasks is what managers would have said of this node's tasks if it were one of theirs: others run in their place. What is left
// of their containers goes with the membership.
func (a *Agent) stopTasks() error {
	m := &api.AssignmentsMessage{Type: api.AssignmentsMessage_INCREMENTAL, Index: a.index}
	for _, t := range a.view.all() {
		if t.DesiredState <= api.TaskState_RUNNING {
			t = proto.CloneOf(t)
			t.DesiredState = api.TaskState_SHUTDOWN
			m.Changes = append(m.Changes, &api.Assignment{Kind: &api.Assignment_Task{Task: t}})
		}
	}
	if len(m.Changes) == 0 {
		return nil
	}
	a.log.Warn("stopping the tasks of the cluster that has removed this node", "tasks", len(m.Changes))
	return a.apply(a.life, m)
}

// leaveNetworks forgets who is where once no task runs here any more: what this node knows of it grows old, and a published port would lead
// to addresses that others have by then.
func (a *Agent) leaveNetworks(ctx context.Context) error {
	rows, err := a.cfg.Engine.Tasks(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, row := range rows {
		if row.State == api.ContainerState_CONTAINER_RUNNING || row.State == api.ContainerState_PAUSED {
			return nil // the next time
		}
	}
	m := &api.AssignmentsMessage{Type: api.AssignmentsMessage_INCREMENTAL, Index: a.index, Changes: a.view.others()}
	if len(m.Changes) == 0 {
		return nil
	}
	return a.apply(a.life, m)
}
