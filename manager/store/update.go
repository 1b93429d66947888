package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// Proposer puts commands into the log of the cluster.
type Proposer interface {
	// Term returns the term in which this manager leads, once its store has caught up with
	// everything committed before that term; ErrNotLeader if it does not lead.
	Term(ctx context.Context) (uint64, error)
	// Propose returns when the command has been applied to this manager's store, with its index.
	// ErrNotLeader means that it was not applied; any other error that nobody knows.
	Propose(ctx context.Context, cmd *api.StoreCommand) (uint64, error)
}

// maxGroup bounds the changes of one log entry (one transaction alone may be larger).
const maxGroup = 4096

// updates is the queue of transactions that wait for the log. There is no goroutine: the first caller
// carries the queue's whole content through the log, then hands over to the first who came meanwhile.
type updates struct {
	proposer Proposer
	mu       sync.Mutex
	busy     bool
	queue    []*pending
}

type pending struct {
	fn   func(*Tx) error
	req  string
	turn chan struct{} // carries one value: it is your turn to carry the queue
	done chan error    // carries one value: the result
}

// group is the set of transactions that go into one entry.
type group struct{ seq uint64 }

// provisional is the Meta of a row that is not committed yet. Its version differs from every
// committed one, so that a later transaction of the group cannot overwrite it unseen.
func (g *group) provisional(old row) *api.Meta {
	g.seq++
	return &api.Meta{Version: 1<<63 | g.seq, CreatedAt: old0(old).GetCreatedAt(), UpdatedAt: old0(old).GetUpdatedAt()}
}

func old0(r row) *api.Meta {
	if r == nil {
		return nil
	}
	return r.GetMeta()
}

// Update runs fn on the newest state and commits what it changed, all or nothing. It returns when every
// later View on this manager sees the change. An error of fn is returned as it is and aborts this
// transaction alone. fn must not block, nor call Update; it may run more than once, also in
// another caller's goroutine.
//
// If ctx ends while the change is on its way, Update returns the context's error and the change may
// still happen.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &pending{fn: fn, req: RequestOf(ctx).ID, turn: make(chan struct{}, 1), done: make(chan error, 1)}
	s.up.enter(p)
	for {
		select {
		case err := <-p.done:
			return err
		case <-p.turn:
			s.carry(ctx)
			s.up.handOver()
		case <-ctx.Done():
			if s.up.leave(p) {
				return ctx.Err()
			}
			select {
			case err := <-p.done: // it had ended already
				return err
			default:
				return ctx.Err()
			}
		}
	}
}

// enter queues p, and gives it the turn if nobody has it.
func (u *updates) enter(p *pending) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue = append(u.queue, p)
	if !u.busy {
		u.busy = true
		p.turn <- struct{}{}
	}
}

// handOver gives the turn to the first in the queue.
func (u *updates) handOver() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = len(u.queue) > 0
	if u.busy {
		u.queue[0].turn <- struct{}{}
	}
}

// leave takes p out of the queue, and passes the turn on if p had just been given it.
// It is false if p is on its way through the log.
func (u *updates) leave(p *pending) bool {
	u.mu.Lock()
	i := slices.Index(u.queue, p)
	if i >= 0 {
		u.queue = slices.Delete(u.queue, i, i+1)
	}
	u.mu.Unlock()
	select {
	case <-p.turn:
		u.handOver()
	default:
	}
	return i >= 0
}

// carry takes what is queued through the log.
func (s *Store) carry(ctx context.Context) {
	// A caller that goes away must not abort the others' transactions.
	ctx = context.WithoutCancel(ctx)
	term, err := s.up.proposer.Term(ctx)
	if err != nil {
		for _, p := range s.up.take(nil) {
			p.done <- err
		}
		return
	}
	g := &group{}
	base := &Tx{defs: s.defs, txn: s.working(), group: g}
	defer base.txn.Abort()
	cmd := &api.StoreCommand{Term: term, Time: timestamppb.New(time.Now())}
	var winners []*pending
	var changes []change
	s.up.take(func(p *pending) bool {
		tx := &Tx{defs: s.defs, txn: base.txn, group: g, request: p.req}
		if err := run(tx, p.fn); err != nil || len(tx.changes) == 0 {
			p.done <- err
			return true
		}
		winners = append(winners, p)
		changes = append(changes, tx.changes...)
		return len(changes) < maxGroup
	})
	if len(winners) == 0 {
		return
	}
	for _, c := range changes {
		cmd.Changes = append(cmd.Changes, c.wire())
	}
	index, err := s.up.proposer.Propose(ctx, cmd)
	if err == nil {
		s.fillMeta(index, cmd.Time, changes)
	}
	for _, p := range winners {
		p.done <- err
	}
}

// take empties the queue: it returns the entries (visit nil), or shows them one by one until visit says stop.
func (u *updates) take(visit func(*pending) bool) []*pending {
	u.mu.Lock()
	taken := u.queue
	u.queue = nil
	u.mu.Unlock()
	if visit == nil {
		return taken
	}
	for i, p := range taken {
		if !visit(p) {
			u.mu.Lock()
			u.queue = append(taken[i+1:len(taken):len(taken)], u.queue...)
			u.mu.Unlock()
			break
		}
	}
	return nil
}

// run executes one transaction of the group; a failed or panicking one leaves no trace.
func run(tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("transaction panicked: %v", r)
		}
		if err != nil {
			if undoErr := tx.undo(); undoErr != nil {
				panic(undoErr) // the working copy is what the others are checked against
			}
		}
	}()
	return fn(tx)
}

// fillMeta tells the callers' objects their new version, so that they can be changed again.
func (s *Store) fillMeta(index uint64, now *timestamppb.Timestamp, changes []change) {
	for _, c := range changes {
		if c.given == nil {
			continue
		}
		meta := &api.Meta{Version: index, CreatedAt: now, UpdatedAt: now}
		if created := c.stored.GetMeta().GetCreatedAt(); created != nil {
			meta.CreatedAt = created
		}
		setMeta(c.given, meta)
	}
}

// alone is the Proposer of a store without a cluster.
type alone struct {
	store *Store
	index uint64
}

func (a *alone) Term(context.Context) (uint64, error) { return 1, nil }

func (a *alone) Propose(_ context.Context, cmd *api.StoreCommand) (uint64, error) {
	a.index = a.store.Index() + 1
	return a.index, a.store.Apply(a.index, 1, cloneCommand(cmd))
}

// Wait returns when this store has applied everything up to an index, or with ctx's error. It lets a
// manager that has just had the leader write something answer from its own replica.
func (s *Store) Wait(ctx context.Context, index uint64) error {
	if s.Index() >= index {
		return nil
	}
	sub := s.subscribe(nil)
	defer s.unsubscribe(sub)
	for {
		if tx, _, _ := s.drain(sub); tx.Index() >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sub.notify:
		}
	}
}
