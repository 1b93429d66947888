package store

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// By narrows a List. Several are combined with "and".
type By struct {
	index  string
	key    string
	prefix bool
}

// ByName finds rows with exactly this name; a node has its given name and its hostname.
func ByName(name string) By { return By{index: indexName, key: name} }

// ByIDPrefix finds rows whose ID begins so.
func ByIDPrefix(prefix string) By { return By{index: indexID, key: prefix, prefix: true} }

// ByService finds the tasks or revisions of a service.
func ByService(id string) By { return By{index: indexService, key: id} }

// ByNode finds the tasks of a node.
func ByNode(id string) By { return By{index: indexNode, key: id} }

// BySlot finds the tasks of one slot of a service.
func BySlot(service string, slot uint64) By {
	return By{index: indexSlot, key: slotKey(service, slot)}
}

// ByNetwork finds tasks, services or revisions that refer to a network.
func ByNetwork(id string) By { return By{index: indexNetwork, key: id} }

// Table is one kind of row within a transaction. Rows that come out are shared: clone before a change.
type Table[T row] struct {
	tx   *Tx
	def  *table
	zero T
}

// Get returns the row with this ID, nil if there is none.
func (t Table[T]) Get(id string) T {
	r := t.tx.get(t.def.kind, id)
	if r == nil {
		return t.zero
	}
	return r.(T)
}

// List returns the rows that fit every By, all rows without one, sorted by ID.
func (t Table[T]) List(by ...By) []T {
	return slices.Collect(t.All(by...))
}

// All is List as a sequence, for tables that are too large to copy.
func (t Table[T]) All(by ...By) iter.Seq[T] {
	return func(yield func(T) bool) {
		for r := range t.tx.scan(t.def, by) {
			if !yield(r.(T)) {
				return
			}
		}
	}
}

// Find looks a reference up as a person writes it: an ID, a name, or an ID's prefix that fits one row only.
func (t Table[T]) Find(ref string) (T, error) {
	if ref == "" {
		return t.zero, fmt.Errorf("%s: %w: the name is empty", t.def.kind, ErrNotFound)
	}
	if r := t.tx.get(t.def.kind, ref); r != nil {
		return r.(T), nil
	}
	found := []T(nil)
	if t.def.indexes[indexName] != nil {
		found = t.List(ByName(ref))
	}
	if len(found) == 0 {
		found = t.List(ByIDPrefix(ref))
	}
	switch len(found) {
	case 0:
		return t.zero, fmt.Errorf("%s %q: %w", t.def.kind, ref, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return t.zero, fmt.Errorf("%s %q: %w: %d fit, use the ID", t.def.kind, ref, ErrAmbiguous, len(found))
}

// Create adds a row. Its Meta is filled in when the transaction has been committed.
func (t Table[T]) Create(r T) error {
	if r.GetId() == "" {
		return fmt.Errorf("create %s: it has no ID", t.def.kind)
	}
	if t.tx.get(t.def.kind, r.GetId()) != nil {
		return fmt.Errorf("create %s %s: %w", t.def.kind, r.GetId(), ErrExists)
	}
	if err := t.tx.nameFree(t.def, r); err != nil {
		return fmt.Errorf("create %s: %w", t.def.kind, err)
	}
	return t.tx.put(t.def.kind, api.ChangeKind_CREATE, r, nil)
}

// Update replaces a row. Its Meta.Version must be the stored one; after the commit it is the new one.
func (t Table[T]) Update(r T) error {
	old := t.tx.get(t.def.kind, r.GetId())
	if old == nil {
		return fmt.Errorf("update %s %s: %w", t.def.kind, r.GetId(), ErrNotFound)
	}
	if r.GetMeta().GetVersion() != old.GetMeta().GetVersion() {
		return fmt.Errorf("update %s %s: %w", t.def.kind, r.GetId(), ErrSequence)
	}
	if err := t.tx.nameFree(t.def, r); err != nil {
		return fmt.Errorf("update %s %s: %w", t.def.kind, r.GetId(), err)
	}
	return t.tx.put(t.def.kind, api.ChangeKind_UPDATE, r, old)
}

// Delete removes a row.
func (t Table[T]) Delete(id string) error {
	old := t.tx.get(t.def.kind, id)
	if old == nil {
		return fmt.Errorf("delete %s %s: %w", t.def.kind, id, ErrNotFound)
	}
	return t.tx.remove(t.def.kind, old)
}

// Clone is proto.Clone with the type kept.
func Clone[T proto.Message](m T) T { return proto.Clone(m).(T) }

// fits says whether a row has the key of every By.
func (d *table) fits(r row, by []By) bool {
	for _, b := range by {
		if b.prefix {
			if !strings.HasPrefix(r.GetId(), b.key) {
				return false
			}
		} else if keys := d.indexes[b.index]; !contains(keys(r), b.key) {
			return false
		}
	}
	return true
}
