package store

import (
	"fmt"

	"github.com/hashicorp/go-memdb"
)

// tableState has one row: the index of the last applied command. It is a table so that a
// snapshot of the tables and its index can never disagree.
const tableState = "state"

type stateRow struct{ index uint64 }

func stateSchema() *memdb.TableSchema {
	return &memdb.TableSchema{Name: tableState, Indexes: map[string]*memdb.IndexSchema{
		indexID: {Name: indexID, Unique: true, Indexer: stateIndexer{}},
	}}
}

type stateIndexer struct{}

func (stateIndexer) FromObject(any) (bool, []byte, error) { return true, []byte("state"), nil }
func (stateIndexer) FromArgs(...any) ([]byte, error)      { return []byte("state"), nil }

// idIndexer finds rows by ID and by prefix of an ID.
type idIndexer struct{}

func (idIndexer) FromObject(o any) (bool, []byte, error) {
	id := o.(row).GetId()
	return id != "", []byte(id + "\x00"), nil
}

func (idIndexer) FromArgs(args ...any) ([]byte, error) {
	key, err := stringArg(args)
	return []byte(key + "\x00"), err
}

func (idIndexer) PrefixFromArgs(args ...any) ([]byte, error) {
	key, err := stringArg(args)
	return []byte(key), err
}

// keyIndexer finds rows by any of the keys that a function takes from them; empty keys are left out.
type keyIndexer struct{ keys func(row) []string }

func (x keyIndexer) FromObject(o any) (bool, [][]byte, error) {
	var out [][]byte
	keys := x.keys(o.(row))
	for i, k := range keys {
		if k != "" && !contains(keys[:i], k) {
			out = append(out, []byte(k+"\x00"))
		}
	}
	return len(out) > 0, out, nil
}

func (keyIndexer) FromArgs(args ...any) ([]byte, error) {
	key, err := stringArg(args)
	return []byte(key + "\x00"), err
}

func stringArg(args []any) (string, error) {
	if len(args) == 1 {
		if s, ok := args[0].(string); ok {
			return s, nil
		}
	}
	return "", fmt.Errorf("index wants one string, got %v", args)
}

func contains(keys []string, key string) bool {
	for _, k := range keys {
		if k == key {
			return true
		}
	}
	return false
}
