package store

import (
	"fmt"
	"iter"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// Tx is a consistent view of all tables. It must not be used after the function it was given to
// has returned, nor by two goroutines if it is an Update's.
type Tx struct {
	defs    map[string]*table
	txn     *memdb.Txn
	group   *group // nil: read-only
	request string // of the user, "" if none is to be remembered
	changes []change
}

// change is one write of a transaction.
type change struct {
	kind   api.ChangeKind
	table  string
	old    row // nil for a create
	stored row // what the working copy holds, nil for a delete
	given  row // the caller's object, whose Meta is filled in after the commit
}

// Index is the Raft index of this snapshot: that of the last change in it.
func (tx *Tx) Index() uint64 {
	return indexOf(tx.txn)
}

// Cluster returns the cluster's row, nil before init.
func (tx *Tx) Cluster() *api.Cluster {
	for c := range tx.clusters().All() {
		return c
	}
	return nil
}

// SetCluster creates the cluster's row or replaces it, whatever its version was.
func (tx *Tx) SetCluster(c *api.Cluster) error {
	old := tx.Cluster()
	if old == nil {
		return tx.clusters().Create(c)
	}
	if old.Id != c.Id {
		return fmt.Errorf("set cluster %s: %w: this is cluster %s", c.Id, ErrExists, old.Id)
	}
	return tx.put(KindCluster, api.ChangeKind_UPDATE, c, old)
}

func (tx *Tx) clusters() Table[*api.Cluster] { return tableOf[*api.Cluster](tx, KindCluster) }

// Nodes is the table of nodes.
func (tx *Tx) Nodes() Table[*api.Node] { return tableOf[*api.Node](tx, KindNode) }

// Services is the table of services.
func (tx *Tx) Services() Table[*api.Service] { return tableOf[*api.Service](tx, KindService) }

// Revisions is the table of the immutable copies of service specs.
func (tx *Tx) Revisions() Table[*api.Revision] { return tableOf[*api.Revision](tx, KindRevision) }

// Tasks is the table of tasks.
func (tx *Tx) Tasks() Table[*api.Task] { return tableOf[*api.Task](tx, KindTask) }

// Networks is the table of networks.
func (tx *Tx) Networks() Table[*api.Network] { return tableOf[*api.Network](tx, KindNetwork) }

func tableOf[T row](tx *Tx, kind string) Table[T] {
	return Table[T]{tx: tx, def: tx.defs[kind]}
}

func indexOf(txn *memdb.Txn) uint64 {
	s, err := txn.First(tableState, indexID, "")
	if err != nil || s == nil {
		return 0
	}
	return s.(*stateRow).index
}

func (tx *Tx) get(kind, id string) row {
	r, err := tx.txn.First(kind, indexID, id)
	if err != nil || r == nil {
		return nil // the only errors are those of a wrong schema
	}
	return r.(row)
}

// scan walks the rows that fit, by the index of the first By.
func (tx *Tx) scan(def *table, by []By) iter.Seq[row] {
	index, args := indexID+"_prefix", any("")
	if len(by) > 0 {
		index, args = by[0].index, by[0].key
		if by[0].prefix {
			index += "_prefix"
		} else if def.indexes[index] == nil {
			panic(fmt.Sprintf("store: table %s has no index %s", def.kind, index))
		}
	}
	return func(yield func(row) bool) {
		it, err := tx.txn.Get(def.kind, index, args)
		if err != nil {
			panic(fmt.Sprintf("store: scan %s by %s: %v", def.kind, index, err)) // a wrong schema
		}
		for o := it.Next(); o != nil; o = it.Next() {
			r := o.(row)
			if len(by) > 1 && !def.fits(r, by[1:]) {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
}

// nameFree checks that no other row has this row's name, where names are taken once.
func (tx *Tx) nameFree(def *table, r row) error {
	if !def.uniqueName {
		return nil
	}
	for _, name := range def.indexes[indexName](r) {
		if name == "" {
			continue
		}
		for other := range tx.scan(def, []By{ByName(name)}) {
			if other.GetId() != r.GetId() {
				return fmt.Errorf("%w: a %s named %q exists", ErrNameTaken, def.kind, name)
			}
		}
	}
	return nil
}

// put writes into the working copy. The row is cloned, so that the caller's object keeps its
// version if the transaction fails and is tried again.
func (tx *Tx) put(table string, kind api.ChangeKind, r, old row) error {
	if tx.group == nil {
		return errReadOnly
	}
	stored := proto.Clone(r).(row)
	meta := tx.group.provisional(old)
	meta.Request = tx.requested(old)
	setMeta(stored, meta)
	if err := tx.txn.Insert(table, stored); err != nil {
		return fmt.Errorf("%s %s: %w", table, r.GetId(), err)
	}
	tx.changes = append(tx.changes, change{kind: kind, table: table, old: old, stored: stored, given: r})
	return nil
}

func (tx *Tx) remove(table string, old row) error {
	if tx.group == nil {
		return errReadOnly
	}
	if err := tx.txn.Delete(table, old); err != nil {
		return fmt.Errorf("delete %s %s: %w", table, old.GetId(), err)
	}
	tx.changes = append(tx.changes, change{kind: api.ChangeKind_DELETE, table: table, old: old})
	return nil
}

// undo takes the transaction's changes out of the working copy, so that the next one of the group
// does not see them.
func (tx *Tx) undo() error {
	for i := len(tx.changes) - 1; i >= 0; i-- {
		c := tx.changes[i]
		var err error
		if c.old != nil {
			err = tx.txn.Insert(c.table, c.old)
		} else {
			err = tx.txn.Delete(c.table, c.stored)
		}
		if err != nil {
			return fmt.Errorf("undo %s: %w", c.table, err)
		}
	}
	tx.changes = nil
	return nil
}

// wire is the change as it goes into the log.
func (c change) wire() *api.Change {
	if c.kind == api.ChangeKind_DELETE {
		return &api.Change{Kind: c.kind, Object: objectOf(deleted(c.old))}
	}
	return &api.Change{Kind: c.kind, Object: objectOf(c.stored)}
}
