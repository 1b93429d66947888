package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// seen is one call of a follower's handler: "all" or the IDs of what has changed, and the state's IDs.
type seen struct {
	Events []string
	State  []string
}

func follow(ctx context.Context, s *Store, o FollowOptions, calls *[]seen) chan error {
	done := make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, o, func(tx *Tx, events []Event) error {
			call := seen{State: ids(tx.Services().List())}
			if events == nil {
				call.Events = []string{"all"}
			}
			for _, e := range events {
				if e.New != nil {
					call.Events = append(call.Events, e.Kind.String()+" "+e.New.(row).GetId())
				} else {
					call.Events = append(call.Events, e.Kind.String()+" "+e.Old.(row).GetId())
				}
			}
			*calls = append(*calls, call)
			return nil
		})
	}()
	return done
}

func create(id string) func(*Tx) error {
	return func(tx *Tx) error { return tx.Services().Create(service(id, id)) }
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil)
		mustUpdate(t, s, create("a"))
		var calls []seen
		ctx, cancel := context.WithCancel(t.Context())
		done := follow(ctx, s, FollowOptions{Kinds: []string{KindService}, Resync: time.Minute, Debounce: time.Second}, &calls)
		synctest.Wait()
		mustUpdate(t, s, create("b"))
		mustUpdate(t, s, func(tx *Tx) error { return tx.Services().Delete("a") })
		mustUpdate(t, s, func(tx *Tx) error { return tx.Nodes().Create(&api.Node{Id: "n"}) }) // of no interest
		time.Sleep(500 * time.Millisecond)
		mustUpdate(t, s, create("c")) // still within the debounce
		time.Sleep(time.Second)
		synctest.Wait()
		mustUpdate(t, s, create("d"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ended with %v", err)
		}
		want := []seen{
			{[]string{"all"}, []string{"a"}},
			{[]string{"CREATE b", "DELETE a", "CREATE c"}, []string{"b", "c"}},
			{[]string{"CREATE d"}, []string{"b", "c", "d"}},
			{[]string{"all"}, []string{"b", "c", "d"}},
			{[]string{"all"}, []string{"b", "c", "d"}},
		}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFollowEndsWithHandlersError(t *testing.T) {
	s := New(nil)
	want := errors.New("enough")
	if err := s.Follow(t.Context(), FollowOptions{}, func(*Tx, []Event) error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}

func TestFollowStartsOverAfterOverflowAndRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil)
		var calls []seen
		ctx, cancel := context.WithCancel(t.Context())
		done := follow(ctx, s, FollowOptions{Debounce: time.Second}, &calls)
		synctest.Wait()
		for i := range 9 { // in one debounce, more than a follower may lag behind
			mustUpdate(t, s, func(tx *Tx) error {
				for j := range maxGroup {
					if err := tx.Tasks().Create(&api.Task{Id: fmt.Sprint(i, "-", j)}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		check(t, s.Restore(&api.Snapshot{Index: 100, Objects: []*api.Object{objectOf(service("x", "x"))}}))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mustUpdate(t, s, create("y"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		cancel()
		<-done
		want := []seen{
			{[]string{"all"}, nil},
			{[]string{"all"}, nil},
			{[]string{"all"}, []string{"x"}},
			{[]string{"CREATE y"}, []string{"x", "y"}},
		}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil)
		mustUpdate(t, s, create("before"))
		ch, cancel := s.Watch(t.Context(), KindService)
		mustUpdate(t, s, create("a"))
		mustUpdate(t, s, create("b"))
		synctest.Wait()
		var got []string
		for len(got) < 2 {
			for _, e := range <-ch {
				got = append(got, e.New.(row).GetId())
			}
		}
		if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
			t.Error(diff)
		}
		cancel()
		synctest.Wait()
		if _, open := <-ch; open {
			t.Error("the channel is open after cancel")
		}
		lost, stop := s.Watch(t.Context())
		defer stop()
		check(t, s.Restore(&api.Snapshot{}))
		synctest.Wait()
		if _, open := <-lost; open {
			t.Error("the channel is open after a restore")
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for what never comes: %v", err)
		}
		done := make(chan error)
		go func() { done <- s.Wait(t.Context(), 2) }()
		mustUpdate(t, s, create("a"))
		mustUpdate(t, s, create("b"))
		check(t, <-done)
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
