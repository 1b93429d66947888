// Package orchestrator makes the tasks of every service what its spec asks for: it creates,
// restarts, moves, updates and stops them, and forgets them when they have ended.
//
// There is one loop and one function, reconcile, which looks at the rows of one service and
// the time and writes what is due (pass.go lists the steps). It remembers nothing between two
// calls: restart delays, the progress of an update and the loss of a node are read from the
// rows, so that a new leader goes on exactly where the old one stopped. Where something is due
// later, reconcile says when it wants to be called again.
//
// It does not choose nodes (manager/placement; tasks of global services come with theirs),
// does not run anything (agent), and does not write specs, except that an automatic rollback
// puts the previous revision's spec back.
package orchestrator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Orchestrator is the loop. It writes tasks up to PENDING, Task.desired_state, ORPHANED, and
// Service.update_status; docs/task-model.md has the table of writers.
type Orchestrator struct {
	store *store.Store
	log   *slog.Logger
}

// New returns an Orchestrator; Run must be called on the leader only.
func New(s *store.Store, log *slog.Logger) *Orchestrator {
	return &Orchestrator{store: s, log: log}
}

const (
	// resync is how often every service is looked at without a reason.
	resync = 30 * time.Second
	// batch is how many services share a transaction.
	batch = 32
	// retryAfter is the pause after a failed commit, such as one that timed out.
	retryAfter = 200 * time.Millisecond
)

// Run reconciles until ctx ends or the store says that this manager no longer leads.
func (o *Orchestrator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := newQueue()
	followed := make(chan error, 1)
	go func() { followed <- o.follow(ctx, q) }()
	for {
		if ids := q.take(time.Now(), batch); len(ids) > 0 {
			if err := o.work(ctx, q, ids); err != nil {
				cancel()
				<-followed
				return err
			}
			continue
		}
		timer := q.timer(time.Now())
		select {
		case err := <-followed:
			timer.Stop()
			return err
		case <-q.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// work reconciles services in one transaction; if that fails, each in its own, so that one
// cannot hold up the others.
func (o *Orchestrator) work(ctx context.Context, q *queue, ids []string) error {
	wakes, err := o.reconcile(ctx, ids)
	if err != nil && len(ids) > 1 && ctx.Err() == nil && !errors.Is(err, store.ErrNotLeader) {
		for _, id := range ids {
			if err := o.work(ctx, q, []string{id}); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case err == nil:
		for id, at := range wakes {
			q.at(id, at)
		}
		return nil
	case ctx.Err() != nil || errors.Is(err, store.ErrNotLeader):
		return err
	}
	o.log.Error("service not reconciled, will be tried again", "service", ids[0], "error", err)
	q.at(ids[0], time.Now().Add(retryAfter))
	return nil
}

// reconcile runs a pass over each service and returns when to come back to those that asked for it.
func (o *Orchestrator) reconcile(ctx context.Context, ids []string) (wakes map[string]time.Time, err error) {
	now := time.Now()
	var drawn idSource
	err = o.store.Update(ctx, func(tx *store.Tx) error {
		wakes = map[string]time.Time{}
		drawn.rewind()
		shared := newShared(tx, now, o.log, &drawn)
		for _, id := range ids {
			p := newPass(shared, id)
			p.run()
			if err := p.flush(); err != nil {
				return err
			}
			if !p.wake.IsZero() {
				wakes[id] = p.wake
			}
		}
		return shared.addresses.flush()
	})
	return wakes, err
}

// follow puts the services that a change concerns into the queue.
func (o *Orchestrator) follow(ctx context.Context, q *queue) error {
	kinds := []string{store.KindCluster, store.KindNode, store.KindService, store.KindTask, store.KindNetwork}
	return o.store.Follow(ctx, store.FollowOptions{Kinds: kinds, Resync: resync}, func(tx *store.Tx, events []store.Event) error {
		if events == nil {
			q.now(everyService(tx)...)
		}
		for _, e := range events {
			q.now(concerned(tx, e)...)
		}
		return nil
	})
}

// everyService includes services whose row is gone while tasks are left.
func everyService(tx *store.Tx) (ids []string) {
	seen := map[string]bool{}
	for s := range tx.Services().All() {
		seen[s.Id] = true
		ids = append(ids, s.Id)
	}
	for t := range tx.Tasks().All() {
		if !seen[t.ServiceId] {
			seen[t.ServiceId] = true
			ids = append(ids, t.ServiceId)
		}
	}
	return ids
}

func concerned(tx *store.Tx, e store.Event) []string {
	row := e.New
	if row == nil {
		row = e.Old
	}
	switch r := row.(type) {
	case *api.Service:
		return []string{r.Id}
	case *api.Task:
		return []string{r.ServiceId}
	case *api.Network:
		if old, ok := e.Old.(*api.Network); ok && e.New != nil && sameNetwork(old, r) {
			return nil
		}
		var ids []string
		for s := range tx.Services().All(store.ByNetwork(r.Id)) {
			ids = append(ids, s.Id)
		}
		return ids
	case *api.Node:
		if old, ok := e.Old.(*api.Node); ok && e.New != nil && sameNode(old, r) {
			return nil
		}
	}
	return everyService(tx)
}

// sameNetwork says whether a network is as usable as before.
func sameNetwork(a, b *api.Network) bool {
	return a.Vni == b.Vni && a.AllocationError == b.AllocationError && proto.Equal(a.Spec, b.Spec)
}

// sameNode says whether a change of a node's row is without meaning here.
func sameNode(a, b *api.Node) bool {
	return a.GetStatus().GetState() == b.GetStatus().GetState() && a.Role == b.Role && proto.Equal(a.Spec, b.Spec) &&
		proto.Equal(a.GetDescription().GetPlatform(), b.GetDescription().GetPlatform()) &&
		a.GetDescription().GetHostname() == b.GetDescription().GetHostname()
}
