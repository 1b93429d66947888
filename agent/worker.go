//go:build linux

package agent

import (
	"context"
	"fmt"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// apply takes up a message of the managers: first to disk, then the network, then the tasks.
func (a *Agent) apply(ctx context.Context, m *api.AssignmentsMessage) error {
	if err := a.db.Apply(m); err != nil {
		return err
	}
	a.index = m.Index
	complete := m.Type == api.AssignmentsMessage_COMPLETE
	tasks, network := a.view.apply(complete, m.Changes)
	if network {
		a.cfg.Overlay.Set(a.view.desired())
	}
	for id := range tasks {
		a.assign(ctx, id, a.view.task(id))
	}
	if complete {
		return a.removeOrphans(ctx)
	}
	return nil
}

// assign gives a task's runner the managers' newest word, and makes one for a task that has none.
func (a *Agent) assign(ctx context.Context, id string, task *api.Task) {
	a.mu.Lock()
	r := a.runners[id]
	a.mu.Unlock()
	if r != nil {
		r.update(task)
	} else if task != nil {
		a.launch(ctx, id, task, nil)
	}
}

// launch starts a task's runner. Without a status of our own the managers' is taken: this node may have lost its
// database, and a task that ran must not run again.
func (a *Agent) launch(ctx context.Context, id string, task *api.Task, status *api.TaskStatus) {
	if status == nil && task.Status.GetState() < api.TaskState_ORPHANED {
		status = task.Status
	}
	revision := a.view.revisionOf(task)
	r := newRunner(container.New(a.control, task, revision), task, status, a.log)
	r.gone = task.Status.GetState() == api.TaskState_ORPHANED
	r.report = func(s *api.TaskStatus) { a.reporter.report(id, s) }
	r.drainable = func() bool { return a.view.drainable(task) }
	a.start(ctx, id, r)
}

// start runs a runner until its task may be forgotten.
func (a *Agent) start(ctx context.Context, id string, r *runner) {
	a.mu.Lock()
	a.runners[id] = r
	a.mu.Unlock()
	a.running.Go(func() {
		for {
			err := r.resume(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			a.log.Warn("looking for a task's container failed, will try again", "task", id, "error", err)
			pause.For(ctx, stepRetry)
		}
		if r.run(ctx) != nil {
			return
		}
		a.mu.Lock()
		delete(a.runners, id)
		a.mu.Unlock()
		a.reporter.forget(id)
	})
}

// removeOrphans ends the containers of tasks that the managers do not know: their removal was said while this
// node was away.
func (a *Agent) removeOrphans(ctx context.Context) error {
	rows, err := a.cfg.Engine.Tasks(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, row := range rows {
		a.mu.Lock()
		known := a.runners[row.TaskId] != nil
		a.mu.Unlock()
		if known || a.view.task(row.TaskId) != nil {
			continue
		}
		a.log.Info("removing the container of a task that is no more", "task", row.TaskId, "container", row.Id)
		task := &api.Task{Id: row.TaskId}
		r := newRunner(container.New(a.control, task, nil), task, &api.TaskStatus{State: api.TaskState_STARTING}, a.log)
		r.gone = true
		r.report = func(*api.TaskStatus) {}
		r.drainable = func() bool { return false }
		a.start(ctx, row.TaskId, r)
	}
	return nil
}
