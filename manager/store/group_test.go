package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// slowLog is a log in which each entry takes a while, as one that is fsynced and replicated does.
type slowLog struct {
	store   *Store
	delay   time.Duration
	term    uint64
	fail    error
	entries int
}

func (l *slowLog) Term(context.Context) (uint64, error) { return l.term, nil }

func (l *slowLog) Propose(_ context.Context, cmd *api.StoreCommand) (uint64, error) {
	time.Sleep(l.delay)
	if l.fail != nil {
		return 0, l.fail
	}
	l.entries++
	index := l.store.Index() + 1
	return index, l.store.Apply(index, l.term, cloneCommand(cmd))
}

func newSlow(delay time.Duration) (*Store, *slowLog) {
	l := &slowLog{delay: delay, term: 1}
	l.store = New(l)
	return l.store, l
}

func TestConcurrentUpdatesShareAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSlow(time.Millisecond)
		const n = 100
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				errs[i] = s.Update(t.Context(), func(tx *Tx) error {
					if i%10 == 3 {
						_ = tx.Services().Create(service(fmt.Sprint("half-", i), "half"))
						return errors.New("changed my mind")
					}
					return tx.Services().Create(service(fmt.Sprint(i), fmt.Sprint("name-", i%50))) // each name twice
				})
			})
		}
		wg.Wait()
		ok, taken, aborted := 0, 0, 0
		for _, err := range errs {
			switch {
			case err == nil:
				ok++
			case errors.Is(err, ErrNameTaken):
				taken++
			default:
				aborted++
			}
		}
		if ok != 45 || taken != 45 || aborted != 10 {
			t.Errorf("%d succeeded, %d names taken, %d aborted, want 45, 45, 10", ok, taken, aborted)
		}
		if l.entries > 3 {
			t.Errorf("%d entries for 45 transactions that came at once", l.entries)
		}
		s.View(func(tx *Tx) {
			if got := len(tx.Services().List()); got != 45 {
				t.Errorf("%d rows, want 45: a failed transaction left something", got)
			}
		})
	})
}

// In one group, an update from an old version must fail as it does in two.
func TestGroupDetectsStaleVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSlow(time.Millisecond)
		mustUpdate(t, s, create("a"))
		var old *api.Service
		s.View(func(tx *Tx) { old = tx.Services().Get("a") })
		results := make(chan error, 10)
		for range 10 {
			mine := Clone(old)
			go func() {
				results <- s.Update(t.Context(), func(tx *Tx) error { return tx.Services().Update(mine) })
			}()
		}
		won := 0
		for range 10 {
			if err := <-results; err == nil {
				won++
			} else if !errors.Is(err, ErrSequence) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of 10 updates of one version succeeded", won)
		}
	})
}

func TestUpdateGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSlow(time.Second)
		first := make(chan error, 1)
		go func() { first <- s.Update(t.Context(), create("a")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := s.Update(ctx, create("b")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		check(t, <-first)
		mustUpdate(t, s, create("c"))
		s.View(func(tx *Tx) {
			if tx.Services().Get("b") != nil {
				t.Error("an update that had given up in the queue was made")
			}
		})
	})
}

func TestFailedProposal(t *testing.T) {
	s, l := newSlow(0)
	l.fail = ErrNotLeader
	svc := service("a", "a")
	if err := s.Update(t.Context(), func(tx *Tx) error { return tx.Services().Create(svc) }); !errors.Is(err, ErrNotLeader) {
		t.Errorf("got %v", err)
	}
	if svc.Meta != nil {
		t.Errorf("meta of what was not committed: %v", svc.Meta)
	}
	l.fail = nil
	mustUpdate(t, s, func(tx *Tx) error { return tx.Services().Create(svc) })
}

func TestPanicAbortsOneTransaction(t *testing.T) {
	s := New(nil)
	err := s.Update(t.Context(), func(tx *Tx) error {
		_ = tx.Services().Create(service("a", "a"))
		panic("bug")
	})
	if err == nil {
		t.Error("a panic was swallowed")
	}
	mustUpdate(t, s, create("a"))
}

func TestEntryOfAnotherTermIsRejected(t *testing.T) {
	s := New(nil)
	cmd := &api.StoreCommand{Term: 3, Time: timestamppb.Now(), Changes: []*api.Change{{Object: objectOf(service("a", "a"))}}}
	if err := s.Apply(1, 4, proto.Clone(cmd).(*api.StoreCommand)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("got %v", err)
	}
	if s.Index() != 0 {
		t.Error("it was applied")
	}
	check(t, s.Apply(2, 3, cmd))
}

func BenchmarkUpdate(b *testing.B) {
	for _, rows := range []int{1000, 100000} {
		b.Run(fmt.Sprint(rows, "-rows"), func(b *testing.B) {
			s := New(nil)
			fill(b, s, rows)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					mustUpdate(b, s, func(tx *Tx) error {
						t := Clone(tx.Tasks().Get(fmt.Sprint("t", i%rows)))
						t.Status = &api.TaskStatus{State: api.TaskState_RUNNING}
						return tx.Tasks().Update(t)
					})
				}
			})
		})
	}
}

func BenchmarkListByService(b *testing.B) {
	s := New(nil)
	fill(b, s, 100000)
	for b.Loop() {
		s.View(func(tx *Tx) { _ = tx.Tasks().List(ByService("s1")) })
	}
}

// fill makes rows tasks of services of 100.
func fill(b *testing.B, s *Store, rows int) {
	for first := 0; first < rows; first += 1000 {
		mustUpdate(b, s, func(tx *Tx) error {
			for i := first; i < first+1000; i++ {
				err := tx.Tasks().Create(&api.Task{Id: fmt.Sprint("t", i), ServiceId: fmt.Sprint("s", i/100), Slot: uint64(i % 100), NodeId: fmt.Sprint("n", i%50)})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func BenchmarkCreate(b *testing.B) {
	for b.Loop() {
		fill(b, New(nil), 10000)
	}
}
