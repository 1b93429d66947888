package keyed

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestMutex(t *testing.T) {
	var m Mutex
	counts := map[string]*int{"a": new(int), "b": new(int)}
	var wg sync.WaitGroup
	for range 20 {
		for key, n := range counts {
			wg.Go(func() {
				for range 50 {
					unlock, err := m.Lock(t.Context(), key)
					if err != nil {
						t.Error(err)
						return
					}
					*n++
					unlock()
				}
			})
		}
	}
	wg.Wait()
	if *counts["a"] != 1000 || *counts["b"] != 1000 || len(m.held) != 0 {
		t.Errorf("counted %d and %d, want 1000 each; %d locks are left", *counts["a"], *counts["b"], len(m.held))
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	var m Mutex
	unlock, err := m.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("held by another, no time to wait: %v", err)
	}
	if _, ok := m.TryLock("a"); ok {
		t.Error("TryLock took what another has")
	}
	other, ok := m.TryLock("b")
	if !ok {
		t.Error("another key is held as well")
	}
	other()
	unlock()
	if len(m.held) != 0 {
		t.Errorf("%d locks are left", len(m.held))
	}
}
