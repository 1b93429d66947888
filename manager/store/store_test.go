package store

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func service(id, name string) *api.Service {
	return &api.Service{Id: id, Spec: &api.ServiceSpec{Name: name}}
}

func mustUpdate(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func ids[T row](rows []T) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.GetId())
	}
	return out
}

func TestCreateUpdateDelete(t *testing.T) {
	s := New(nil)
	svc := service("a1", "web")
	mustUpdate(t, s, func(tx *Tx) error { return tx.Services().Create(svc) })
	if svc.Meta.GetVersion() != 1 || svc.Meta.CreatedAt == nil {
		t.Fatalf("meta after create = %v, want version 1 and times", svc.Meta)
	}
	svc.Spec.Labels = map[string]string{"x": "y"}
	mustUpdate(t, s, func(tx *Tx) error { return tx.Services().Update(svc) })
	s.View(func(tx *Tx) {
		got := tx.Services().Get("a1")
		if got.Spec.Labels["x"] != "y" || got.Meta.Version != 2 || tx.Index() != 2 {
			t.Errorf("stored %v at index %d, want the label and version 2", got, tx.Index())
		}
		if got == svc {
			t.Error("the store keeps the caller's object")
		}
	})
	mustUpdate(t, s, func(tx *Tx) error { return tx.Services().Delete("a1") })
	s.View(func(tx *Tx) {
		if got := tx.Services().Get("a1"); got != nil {
			t.Errorf("deleted service is still there: %v", got)
		}
	})
}

func TestErrors(t *testing.T) {
	s := New(nil)
	mustUpdate(t, s, func(tx *Tx) error {
		return errors.Join(tx.Services().Create(service("a1", "web")), tx.Services().Create(service("b1", "db")))
	})
	stale := service("a1", "web")
	for name, test := range map[string]struct {
		fn   func(*Tx) error
		want error
	}{
		"create twice":   {func(tx *Tx) error { return tx.Services().Create(service("a1", "other")) }, ErrExists},
		"name taken":     {func(tx *Tx) error { return tx.Services().Create(service("c1", "web")) }, ErrNameTaken},
		"update stale":   {func(tx *Tx) error { return tx.Services().Update(stale) }, ErrSequence},
		"update missing": {func(tx *Tx) error { return tx.Services().Update(service("zz", "z")) }, ErrNotFound},
		"delete missing": {func(tx *Tx) error { return tx.Services().Delete("zz") }, ErrNotFound},
		"rename to taken": {func(tx *Tx) error {
			r := Clone(tx.Services().Get("a1"))
			r.Spec.Name = "db"
			return tx.Services().Update(r)
		}, ErrNameTaken},
		"all or nothing": {func(tx *Tx) error { return errors.Join(tx.Services().Delete("a1"), ErrAmbiguous) }, ErrAmbiguous},
		"update in update": {func(tx *Tx) error {
			r := Clone(tx.Services().Get("a1"))
			_ = tx.Services().Update(r)
			return tx.Services().Update(stale)
		}, ErrSequence},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Update(context.Background(), test.fn); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	s.View(func(tx *Tx) {
		if diff := cmp.Diff([]string{"a1", "b1"}, ids(tx.Services().List())); diff != "" || tx.Index() != 1 {
			t.Errorf("after failed updates, index %d: %s", tx.Index(), diff)
		}
	})
}

func TestFindAndList(t *testing.T) {
	s := New(nil)
	mustUpdate(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.Services().Create(service("abc1", "web")),
			tx.Services().Create(service("abd2", "db")),
			tx.Nodes().Create(&api.Node{Id: "n1", Description: &api.NodeDescription{Hostname: "host"}}),
			tx.Nodes().Create(&api.Node{Id: "n2", Description: &api.NodeDescription{Hostname: "host"}}),
			tx.Tasks().Create(&api.Task{Id: "t2", ServiceId: "abc1", Slot: 1, NodeId: "n1", Networks: []*api.NetworkAttachment{{NetworkId: "net"}, {NetworkId: "net"}}}),
			tx.Tasks().Create(&api.Task{Id: "t1", ServiceId: "abc1", Slot: 2, NodeId: "n1"}),
			tx.Tasks().Create(&api.Task{Id: "t3", ServiceId: "abd2", Slot: 2}),
		)
	})
	s.View(func(tx *Tx) {
		for ref, want := range map[string]string{"abc1": "abc1", "web": "abc1", "abd": "abd2"} {
			if got, err := tx.Services().Find(ref); err != nil || got.Id != want {
				t.Errorf("Find(%q) = %v, %v, want %s", ref, got, err, want)
			}
		}
		for ref, want := range map[string]error{"ab": ErrAmbiguous, "nope": ErrNotFound, "": ErrNotFound} {
			if _, err := tx.Services().Find(ref); !errors.Is(err, want) {
				t.Errorf("Find(%q): %v, want %v", ref, err, want)
			}
		}
		if _, err := tx.Nodes().Find("host"); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("two nodes with one hostname: %v, want %v", err, ErrAmbiguous)
		}
		for name, test := range map[string]struct {
			by   []By
			want []string
		}{
			"all":              {nil, []string{"t1", "t2", "t3"}},
			"service":          {[]By{ByService("abc1")}, []string{"t1", "t2"}},
			"node":             {[]By{ByNode("n1")}, []string{"t1", "t2"}},
			"slot":             {[]By{BySlot("abc1", 2)}, []string{"t1"}},
			"network":          {[]By{ByNetwork("net")}, []string{"t2"}},
			"node and network": {[]By{ByNode("n1"), ByNetwork("net")}, []string{"t2"}},
			"prefix and node":  {[]By{ByIDPrefix("t"), ByNode("n1")}, []string{"t1", "t2"}},
			"none":             {[]By{ByNode("n2")}, nil},
		} {
			if diff := cmp.Diff(test.want, ids(tx.Tasks().List(test.by...))); diff != "" {
				t.Errorf("list by %s: %s", name, diff)
			}
		}
	})
}

func TestCluster(t *testing.T) {
	s := New(nil)
	s.View(func(tx *Tx) {
		if tx.Cluster() != nil {
			t.Error("an empty store has a cluster")
		}
	})
	for _, token := range []string{"a", "b"} {
		mustUpdate(t, s, func(tx *Tx) error { return tx.SetCluster(&api.Cluster{Id: "c", WorkerToken: token}) })
	}
	s.View(func(tx *Tx) {
		if got := tx.Cluster().GetWorkerToken(); got != "b" {
			t.Errorf("token = %q, want b", got)
		}
	})
}
