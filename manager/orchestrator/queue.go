package orchestrator

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/internal/id"
)

// queue holds the services to look at: at once, or at a time. A service is in it once only,
// with the earliest of its times.
type queue struct {
	changed chan struct{} // carries one value: something was put in

	mu  sync.Mutex
	due map[string]time.Time // zero: at once
}

func newQueue() *queue {
	return &queue{changed: make(chan struct{}, 1), due: map[string]time.Time{}}
}

// now puts all in at once, so that they share transactions.
func (q *queue) now(ids ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		q.put(id, time.Time{})
	}
}

func (q *queue) at(id string, t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(id, t)
}

func (q *queue) put(id string, t time.Time) {
	if old, ok := q.due[id]; ok && !t.Before(old) {
		return
	}
	q.due[id] = t
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// take removes up to n services that are due, the earliest first.
func (q *queue) take(now time.Time, n int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	for id, t := range q.due {
		if !t.After(now) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(q.due[a].Compare(q.due[b]), cmp.Compare(a, b))
	})
	ids = ids[:min(n, len(ids))]
	for _, id := range ids {
		delete(q.due, id)
	}
	return ids
}

// timer fires when the next service is due.
func (q *queue) timer(now time.Time) *time.Timer {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := time.Hour
	for _, t := range q.due {
		wait = min(wait, t.Sub(now))
	}
	return time.NewTimer(max(wait, 0))
}

// idSource hands out random IDs, the same ones again when a transaction runs again.
type idSource struct {
	ids  []string
	used int
}

func (s *idSource) rewind() { s.used = 0 }

func (s *idSource) next() string {
	if s.used == len(s.ids) {
		s.ids = append(s.ids, id.New())
	}
	s.used++
	return s.ids[s.used-1]
}
