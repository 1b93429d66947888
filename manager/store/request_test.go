package store

import (
	"context"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// A row remembers who wrote it last for a user, over what others write and over a snapshot.
func TestRowsRememberRequests(t *testing.T) {
	s := New(nil)
	as := func(id string) context.Context { return WithRequest(t.Context(), Request{ID: id}) }
	update := func(ctx context.Context, fn func(tx *Tx) error) {
		t.Helper()
		if err := s.Update(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	done := func(s *Store, id string) (found *api.Network) {
		t.Helper()
		if err := s.Update(as(id), func(tx *Tx) error { found = tx.Networks().Done(); return nil }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	scale := func(tx *Tx) error {
		n := Clone(tx.Networks().Get("n"))
		n.Vni++
		return tx.Networks().Update(n)
	}
	if n := done(s, "first"); n != nil {
		t.Errorf("before anything was done: %v", n)
	}
	update(as("first"), func(tx *Tx) error {
		return tx.Networks().Create(&api.Network{Id: "n", Spec: &api.NetworkSpec{Name: "n"}})
	})
	update(t.Context(), scale) // a loop of the leader
	if n := done(s, "first"); n.GetId() != "n" || n.Vni != 1 {
		t.Errorf("after it was done: %v", n)
	}
	if n := done(s, ""); n != nil {
		t.Errorf("who has no request has done nothing: %v", n)
	}
	restored := New(nil)
	if err := restored.Restore(s.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if n := done(restored, "first"); n.GetId() != "n" {
		t.Errorf("after a restore: %v", n)
	}
	update(as("second"), scale)
	if done(s, "first") != nil || done(s, "second") == nil {
		t.Error("the newest request is the one that counts")
	}
	update(as("third"), func(tx *Tx) error { return tx.Networks().Delete("n") })
	if done(s, "second") != nil {
		t.Error("a row that is gone remembers nothing")
	}
}
