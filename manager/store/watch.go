package store

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// Event is one change. Old is nil for a create, New for a delete.
type Event struct {
	Kind api.ChangeKind
	Old  proto.Message
	New  proto.Message
}

// maxQueued is how many events a slow follower may lag behind before it has to start over.
const maxQueued = 32768

// subscription is a follower's queue of events. The store's mutex guards all of it.
type subscription struct {
	kinds  map[string]bool // empty: all
	notify chan struct{}   // carries one value: look at the queue
	events []Event
	lost   bool
}

func (s *subscription) publish(events []Event) {
	if s.lost {
		return
	}
	before := len(s.events)
	for _, e := range events {
		if len(s.kinds) == 0 || s.kinds[kindOfEvent(e)] {
			s.events = append(s.events, e)
		}
	}
	if len(s.events) > maxQueued {
		s.overflow()
	} else if len(s.events) > before {
		s.wake()
	}
}

func (s *subscription) overflow() {
	s.events, s.lost = nil, true
	s.wake()
}

func (s *subscription) wake() {
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

func kindOfEvent(e Event) string {
	if e.New != nil {
		return KindOf(e.New)
	}
	return KindOf(e.Old)
}

func (s *Store) subscribe(kinds []string) *subscription {
	sub := &subscription{kinds: map[string]bool{}, notify: make(chan struct{}, 1)}
	for _, k := range kinds {
		sub.kinds[k] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	return sub
}

func (s *Store) unsubscribe(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subs, sub)
}

// drain takes the queued events and the snapshot that they lead up to.
func (s *Store) drain(sub *subscription) (tx *Tx, events []Event, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, lost = sub.events, sub.lost
	sub.events, sub.lost = nil, false
	return &Tx{defs: s.defs, txn: s.db.Txn(false)}, events, lost
}

// FollowOptions say what a loop wants to hear of.
type FollowOptions struct {
	Kinds    []string      // none: all
	Resync   time.Duration // look at everything again so often; 0: never
	Debounce time.Duration // wait so long after a first event for more of them
}

// Follow calls handle with the present state and nil events, then with what has changed since: tx is the
// state after those events. After an overflow, a restore and every Resync period events are nil
// again. Events are never lost, repeated or reordered between two calls. Follow returns when ctx
// ends (with its error) or with handle's first error.
func (s *Store) Follow(ctx context.Context, o FollowOptions, handle func(tx *Tx, events []Event) error) error {
	sub := s.subscribe(o.Kinds)
	defer s.unsubscribe(sub)
	var resync <-chan time.Time
	if o.Resync > 0 {
		t := time.NewTicker(o.Resync)
		defer t.Stop()
		resync = t.C
	}
	all := true
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		tx, events, lost := s.drain(sub)
		if all || lost {
			events = nil
		}
		if all || lost || len(events) > 0 {
			if err := handle(tx, events); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-resync:
			all = true
		case <-sub.notify:
			all = false
			if err := pause.For(ctx, o.Debounce); err != nil {
				return err
			}
		}
	}
}

// Watch sends the changes of every command from now on, in commit order. The channel is closed when the
// reader is too slow, after a restore, when ctx ends and when the returned function is called.
func (s *Store) Watch(ctx context.Context, kinds ...string) (<-chan []Event, func()) {
	ctx, cancel := context.WithCancel(ctx)
	sub := s.subscribe(kinds)
	out := make(chan []Event)
	go func() {
		defer close(out)
		defer s.unsubscribe(sub)
		for {
			select {
			case <-ctx.Done():
				return
			case <-sub.notify:
			}
			_, events, lost := s.drain(sub)
			if lost {
				return
			}
			if len(events) == 0 {
				continue
			}
			select {
			case out <- events:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, cancel
}
