// Package allocator gives out what must be unique in the cluster: subnets and VNIs of
// networks, virtual IPs and published ports of services, numbers and gateway subnets of nodes.
//
// It keeps no books. What is taken is read from the rows in the same transaction that takes
// more, and it is free again when the row that holds it is gone: nothing can leak. What
// cannot be had is said in the row (allocation_error) and tried again when rows change.
//
// The addresses of tasks are not here: whoever creates or places a task gives it its
// addresses in the same transaction (manager/orchestrator, manager/placement).
package allocator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/shoal-dev/shoal/manager/store"
)

// Allocator is the loop. It writes Network.{ipam,vni,allocation_error},
// Service.{endpoint,allocation_error} and Node.{number,gateway_subnets}, and nothing else.
type Allocator struct {
	store *store.Store
	log   *slog.Logger
}

// New returns an Allocator; Run must be called on the leader only.
func New(s *store.Store, log *slog.Logger) *Allocator {
	return &Allocator{store: s, log: log}
}

const (
	// resync tries again what is waiting for addresses that tasks hold: most of their ends are not followed.
	resync = 5 * time.Second
	// retryAfter is the pause after a failed commit, such as one that timed out.
	retryAfter = 200 * time.Millisecond
)

// Run allocates until ctx ends or the store says that this manager no longer leads.
func (a *Allocator) Run(ctx context.Context) error {
	kinds := []string{store.KindCluster, store.KindNode, store.KindService, store.KindNetwork, store.KindTask}
	return a.store.Follow(ctx, store.FollowOptions{Kinds: kinds, Resync: resync}, func(tx *store.Tx, events []store.Event) error {
		if events != nil && !anyConcerns(tx, events) {
			return nil
		}
		if p := newPass(tx, a.log); p.run() == nil && !p.wrote {
			return nil // a dry run on the snapshot found nothing to do
		}
		return a.commit(ctx)
	})
}

// commit runs the pass in a transaction, again after a passing failure.
func (a *Allocator) commit(ctx context.Context) error {
	for {
		err := a.store.Update(ctx, func(tx *store.Tx) error {
			p := newPass(tx, a.log)
			p.write = true
			return p.run()
		})
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrNotLeader) {
			return err
		}
		a.log.Error("allocation not committed, will be tried again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}
