package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// Errors that callers branch on.
var (
	ErrNotLeader = errors.New("this manager is not the leader")
	ErrNotFound  = errors.New("not found")
	ErrExists    = errors.New("exists already")
	ErrSequence  = errors.New("changed by someone else meanwhile: read it again and retry")
	ErrNameTaken = errors.New("name taken")
	ErrAmbiguous = errors.New("ambiguous")
	ErrUnknown   = errors.New("the change may or may not have been made")

	errReadOnly = errors.New("write in a read-only transaction")
)

// Store holds the tables of one manager. All methods may be called from any goroutine.
type Store struct {
	defs map[string]*table
	up   updates

	mu   sync.RWMutex // memory and subscriptions change together
	db   *memdb.MemDB
	subs map[*subscription]struct{}
}

// New returns an empty store whose Updates go through p. With a nil p it works alone in memory,
// counting indexes up by itself.
func New(p Proposer) *Store {
	s := &Store{defs: map[string]*table{}, subs: map[*subscription]struct{}{}}
	for _, t := range tables() {
		s.defs[t.kind] = &t
	}
	s.db = newMemory(s.defs)
	if p == nil {
		p = &alone{store: s}
	}
	s.up.proposer = p
	return s
}

// View runs fn on a snapshot. It never waits for writers.
func (s *Store) View(fn func(tx *Tx)) {
	s.mu.RLock()
	db := s.db
	s.mu.RUnlock()
	fn(&Tx{defs: s.defs, txn: db.Txn(false)})
}

// Index is that of the last applied command.
func (s *Store) Index() (index uint64) {
	s.View(func(tx *Tx) { index = tx.Index() })
	return index
}

// Apply carries out a committed command. Only the Raft log (or a store that works alone) calls it, in log order.
// An entry must have been validated in the term it was appended in: a leader that lost office and
// regained it could otherwise overwrite what was decided in between. entryTerm 0 skips the check.
func (s *Store) Apply(index, entryTerm uint64, cmd *api.StoreCommand) error {
	if entryTerm != 0 && cmd.Term != entryTerm {
		return fmt.Errorf("%w: the change was checked in term %d and logged in term %d", ErrNotLeader, cmd.Term, entryTerm)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	txn := s.db.Txn(true)
	defer txn.Abort()
	events := make([]Event, 0, len(cmd.Changes))
	for _, c := range cmd.Changes {
		e, err := applyChange(txn, index, cmd, c)
		if err != nil {
			return err
		}
		events = append(events, e)
	}
	if err := txn.Insert(tableState, &stateRow{index}); err != nil {
		return fmt.Errorf("store index %d: %w", index, err)
	}
	txn.Commit()
	for sub := range s.subs {
		sub.publish(events)
	}
	return nil
}

// applyChange writes one change. It must do the same on every manager, so it takes what the log says
// as decided: creating what is there replaces it, deleting what is not there is nothing.
func applyChange(txn *memdb.Txn, index uint64, cmd *api.StoreCommand, c *api.Change) (Event, error) {
	kind, r := rowOf(c.Object)
	if r == nil {
		return Event{}, fmt.Errorf("apply index %d: a change of an unknown kind: this manager is older than the leader", index)
	}
	found, err := txn.First(kind, indexID, r.GetId())
	if err != nil {
		return Event{}, fmt.Errorf("apply index %d: %w", index, err)
	}
	e := Event{Kind: c.Kind}
	meta := &api.Meta{Version: index, CreatedAt: cmd.Time, UpdatedAt: cmd.Time, Request: r.GetMeta().GetRequest()}
	if found != nil {
		e.Old = found.(row)
		meta.CreatedAt = found.(row).GetMeta().GetCreatedAt()
	}
	if c.Kind == api.ChangeKind_DELETE {
		if found != nil {
			err = txn.Delete(kind, found)
		}
		return e, err
	}
	setMeta(r, meta)
	e.New = r
	return e, txn.Insert(kind, r)
}

// Snapshot copies all rows as of one index. The rows are shared, not cloned.
func (s *Store) Snapshot() *api.Snapshot {
	snap := &api.Snapshot{}
	s.View(func(tx *Tx) {
		snap.Index = tx.Index()
		for _, t := range tables() {
			for r := range tx.scan(tx.defs[t.kind], nil) {
				snap.Objects = append(snap.Objects, objectOf(r))
			}
		}
	})
	return snap
}

// Restore replaces everything by a snapshot. Watches end and followers start over.
func (s *Store) Restore(snap *api.Snapshot) error {
	db := newMemory(s.defs)
	txn := db.Txn(true)
	defer txn.Abort()
	for _, o := range snap.Objects {
		kind, r := rowOf(o)
		if r == nil {
			return errors.New("restore: an object of an unknown kind: the snapshot is from a newer version")
		}
		if err := txn.Insert(kind, r); err != nil {
			return fmt.Errorf("restore %s %s: %w", kind, r.GetId(), err)
		}
	}
	if err := txn.Insert(tableState, &stateRow{snap.Index}); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	txn.Commit()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db = db
	for sub := range s.subs {
		sub.overflow()
	}
	return nil
}

// working is a copy of memory that can be written without touching it, and never will be memory itself.
func (s *Store) working() *memdb.Txn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db.Snapshot().Txn(true)
}

// cloneCommand separates a command from the objects it was made of.
func cloneCommand(cmd *api.StoreCommand) *api.StoreCommand {
	return proto.Clone(cmd).(*api.StoreCommand)
}
