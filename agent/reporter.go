//go:build linux

package agent

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/agent/db"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	reportBatch   = 500                  // statuses in one call
	reportGather  = 2 * time.Millisecond // wait so long for more of them
	reportTimeout = 5 * time.Second
	reportRetry   = 200 * time.Millisecond
	// deafAfter is how long a manager may fail to take reports before the agent tries another.
	deafAfter = 3 * time.Second
)

// reporter tells managers what becomes of tasks, in batches, and keeps each status until one has taken it. The
// newest status of a task replaces the ones before. Statuses are on disk before they are sent.
type reporter struct {
	db  *db.DB
	log *slog.Logger

	mu      sync.Mutex
	status  map[string]*api.TaskStatus // the newest of every task, nil: to be forgotten
	unsaved map[string]bool
	unsent  map[string]*api.TaskStatus // what managers have not taken
	client  api.DispatcherClient       // nil: no session
	deaf    func()                     // ends the session of client
	wake    chan struct{}              // buffered by one
}

func newReporter(d *db.DB, log *slog.Logger, status map[string]*api.TaskStatus) *reporter {
	r := &reporter{
		db: d, log: log, status: maps.Clone(status), unsaved: map[string]bool{}, unsent: map[string]*api.TaskStatus{},
		wake: make(chan struct{}, 1),
	}
	maps.Copy(r.unsent, status) // managers leave out what they know
	return r
}

// report takes a task's newest status. It does not block.
func (r *reporter) report(task string, s *api.TaskStatus) {
	r.mu.Lock()
	r.status[task], r.unsaved[task], r.unsent[task] = s, true, s
	r.mu.Unlock()
	r.nudge()
}

// forget drops a task. Its end is still told to managers: they may know it, as one that they had given up.
func (r *reporter) forget(task string) {
	r.mu.Lock()
	r.status[task], r.unsaved[task] = nil, true
	r.mu.Unlock()
	r.nudge()
}

// use directs reports to a manager, or to nobody for nil. deaf is called when it does not take them.
func (r *reporter) use(client api.DispatcherClient, deaf func()) {
	r.mu.Lock()
	r.client, r.deaf = client, deaf
	r.mu.Unlock()
	r.nudge()
}

func (r *reporter) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run saves and sends until ctx ends; what was not saved then is saved last.
func (r *reporter) run(ctx context.Context) error {
	var failing time.Time
	for {
		select {
		case <-ctx.Done():
			r.save()
			return ctx.Err()
		case <-r.wake:
		}
		pause.For(ctx, reportGather)
		r.save()
		switch err := r.send(ctx); {
		case err == nil:
			failing = time.Time{}
		case ctx.Err() == nil:
			if failing.IsZero() {
				failing = time.Now()
				r.log.Warn("no manager takes the status of tasks now, it is kept", "error", err)
			}
			if r.giveUp(failing) {
				failing = time.Time{} // the next manager gets its own time
			}
			pause.For(ctx, reportRetry)
			r.nudge()
		}
	}
}

// giveUp ends a session whose manager has not been able to write for too long.
func (r *reporter) giveUp(failing time.Time) bool {
	r.mu.Lock()
	deaf := r.deaf
	r.mu.Unlock()
	if deaf == nil || time.Since(failing) < deafAfter {
		return false
	}
	deaf()
	return true
}

func (r *reporter) save() {
	r.mu.Lock()
	batch := map[string]*api.TaskStatus{}
	for id := range r.unsaved {
		batch[id] = r.status[id]
		if batch[id] == nil {
			delete(r.status, id)
		}
	}
	r.unsaved = map[string]bool{}
	r.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	if err := r.db.SetStatus(batch); err != nil {
		r.log.Error("the status of tasks was not stored; it would be lost if the daemon ended now", "error", err)
	}
}

// send sends what is unsent, in batches. Without a session it does nothing.
func (r *reporter) send(ctx context.Context) error {
	for {
		r.mu.Lock()
		client := r.client
		var updates []*api.UpdateTaskStatusRequest_Update
		for id, s := range r.unsent {
			if len(updates) == reportBatch {
				break
			}
			updates = append(updates, &api.UpdateTaskStatusRequest_Update{TaskId: id, Status: s})
		}
		r.mu.Unlock()
		if client == nil || len(updates) == 0 {
			return nil
		}
		if err := r.call(ctx, client, updates); err != nil {
			return err
		}
		r.sent(updates)
	}
}

func (r *reporter) call(ctx context.Context, client api.DispatcherClient, updates []*api.UpdateTaskStatusRequest_Update) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	_, err := client.UpdateTaskStatus(ctx, &api.UpdateTaskStatusRequest{Updates: updates})
	return err
}

// sent marks what was taken, unless it has changed meanwhile.
func (r *reporter) sent(updates []*api.UpdateTaskStatusRequest_Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range updates {
		if r.unsent[u.TaskId] == u.Status {
			delete(r.unsent, u.TaskId)
		}
	}
}
