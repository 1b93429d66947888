package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestModel compares a store with a map: any sequence of transactions, some of which fail half way, leaves the same
// rows, indexes and versions; so does the same sequence replayed elsewhere, and a snapshot in the middle.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := &recorder{}
		s := New(log)
		log.store = s
		model := map[string]*api.Task{}
		for range rapid.IntRange(1, 30).Draw(t, "transactions") {
			next := map[string]*api.Task{}
			for k, v := range model {
				next[k] = v
			}
			ops := rapid.IntRange(1, 6).Draw(t, "ops")
			abort := rapid.Bool().Draw(t, "abort")
			err := s.Update(context.Background(), func(tx *Tx) error {
				for range ops {
					step(t, tx, next)
				}
				if abort {
					return errAbort
				}
				return nil
			})
			if abort != errors.Is(err, errAbort) || !abort && err != nil {
				t.Fatalf("update: %v", err)
			}
			if !abort {
				model = next
			}
			compare(t, s, model)
			if rapid.IntRange(0, 9).Draw(t, "snapshot") == 0 {
				restored := New(nil)
				if err := restored.Restore(proto.Clone(s.Snapshot()).(*api.Snapshot)); err != nil {
					t.Fatal(err)
				}
				same(t, s, restored)
			}
		}
		replayed := New(nil)
		for i, cmd := range log.entries {
			if err := replayed.Apply(uint64(i+1), 1, cmd); err != nil {
				t.Fatal(err)
			}
		}
		same(t, s, replayed)
	})
}

var errAbort = errors.New("abort")

// recorder is a log that can be replayed.
type recorder struct {
	store   *Store
	entries []*api.StoreCommand
}

func (r *recorder) Term(context.Context) (uint64, error) { return 1, nil }

func (r *recorder) Propose(_ context.Context, cmd *api.StoreCommand) (uint64, error) {
	r.entries = append(r.entries, cloneCommand(cmd))
	index := uint64(len(r.entries))
	return index, r.store.Apply(index, 1, cloneCommand(cmd))
}

// step does one thing to the store and the same to the model.
func step(t *rapid.T, tx *Tx, model map[string]*api.Task) {
	id := fmt.Sprint("t", rapid.IntRange(0, 7).Draw(t, "id"))
	task := &api.Task{
		Id: id, ServiceId: fmt.Sprint("s", rapid.IntRange(0, 2).Draw(t, "service")), Slot: uint64(rapid.IntRange(0, 2).Draw(t, "slot")),
		NodeId: rapid.SampledFrom([]string{"", "n1", "n2"}).Draw(t, "node"),
	}
	for _, n := range rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y"}), 0, 2).Draw(t, "networks") {
		task.Networks = append(task.Networks, &api.NetworkAttachment{NetworkId: n})
	}
	var err, want error
	switch rapid.SampledFrom([]string{"create", "update", "stale", "delete"}).Draw(t, "op") {
	case "create":
		if err = tx.Tasks().Create(task); model[id] != nil {
			want = ErrExists
		} else {
			model[id] = task
		}
	case "update":
		task.Meta = tx.Tasks().Get(id).GetMeta()
		if err = tx.Tasks().Update(task); model[id] == nil {
			want = ErrNotFound
		} else {
			model[id] = task
		}
	case "stale":
		task.Meta = &api.Meta{Version: 1 << 40}
		if err, want = tx.Tasks().Update(task), ErrSequence; model[id] == nil {
			want = ErrNotFound
		}
	case "delete":
		if err = tx.Tasks().Delete(id); model[id] == nil {
			want = ErrNotFound
		}
		delete(model, id)
	}
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %v", id, err, want)
	}
}

func compare(t *rapid.T, s *Store, model map[string]*api.Task) {
	s.View(func(tx *Tx) {
		list := func(what string, fits func(*api.Task) bool, by ...By) {
			var want []string
			for id, task := range model {
				if fits(task) {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			if got := ids(tx.Tasks().List(by...)); !slices.Equal(got, want) {
				t.Fatalf("by %s: got %v, want %v", what, got, want)
			}
		}
		onX := func(task *api.Task) bool {
			return slices.ContainsFunc(task.Networks, func(n *api.NetworkAttachment) bool { return n.NetworkId == "x" })
		}
		list("nothing", func(*api.Task) bool { return true })
		list("service", func(task *api.Task) bool { return task.ServiceId == "s1" }, ByService("s1"))
		list("node", func(task *api.Task) bool { return task.NodeId == "n1" }, ByNode("n1"))
		list("slot", func(task *api.Task) bool { return task.ServiceId == "s2" && task.Slot == 1 }, BySlot("s2", 1))
		list("network", onX, ByNetwork("x"))
		list("network and node", func(task *api.Task) bool { return onX(task) && task.NodeId == "n2" }, ByNetwork("x"), ByNode("n2"))
		for id, want := range model {
			if got := tx.Tasks().Get(id); got.GetMeta().GetVersion() > tx.Index() || got.GetServiceId() != want.ServiceId {
				t.Fatalf("%s: got %v, want %v", id, got, want)
			}
		}
	})
}

func same(t *rapid.T, a, b *Store) {
	if x, y := a.Snapshot(), b.Snapshot(); !proto.Equal(x, y) {
		t.Fatalf("two stores differ:\n%v\n%v", x, y)
	}
}
