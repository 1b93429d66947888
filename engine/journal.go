//go:build linux

package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// journalSize is how many events of the past are kept for those who ask later.
const journalSize = 256

// journal keeps the last events and hands new ones to those who follow. Like all events these are hints for people and
// tools: a reader that is too slow is told so and starts over.
type journal struct {
	mu   sync.Mutex
	last []*api.Event
	news broadcaster[*api.Event]
}

func (j *journal) add(ev *api.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ev.Time = timestamppb.Now() // here, so that times are in the order of the events
	j.last = append(j.last[max(0, len(j.last)+1-journalSize):], ev)
	j.news.publish(ev)
}

// follow gives what is kept, and a channel for what comes: nothing is missed in between.
func (j *journal) follow() (last []*api.Event, ch <-chan *api.Event, end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ch, end = j.news.subscribe()
	return slices.Clone(j.last), ch, end
}

// Watch calls emit with what happens from now on to containers, images, volumes and networks, after what happened since a
// moment in the past, if one is given and as far as it is remembered. It ends with ctx, with emit's error, or at until.
func (e *Engine) Watch(ctx context.Context, since, until time.Time, emit func(*api.Event) error) error {
	last, ch, stop := e.journal.follow()
	defer stop()
	late := func(ev *api.Event) bool { return !until.IsZero() && ev.Time.AsTime().After(until) }
	for _, ev := range last {
		if since.IsZero() || ev.Time.AsTime().Before(since) || late(ev) {
			continue
		}
		if err := emit(ev); err != nil {
			return err
		}
	}
	var end <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		end = timer.C
	}
	for {
		select {
		case ev, ok := <-ch:
			if !ok {
				return errorf(ErrPrecondition, "events came faster than they were read: ask again")
			}
			if late(ev) {
				return nil
			}
			if err := emit(ev); err != nil {
				return err
			}
		case <-end:
			return nil
		case <-e.ctx.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
