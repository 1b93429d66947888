//go:build linux

package engine

import (
	"context"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// Event is something that happened to a container. Events are hints for those who show or wake up;
// whoever must not miss anything reads the rows.
type Event struct {
	Time time.Time
	// Action: create, start, pause, unpause, kill, die, oom, stop, restart, destroy, health_status, exec_create, exec_die.
	Action     string
	Container  *api.Container // the row after the event; not to be changed
	Attributes map[string]string
}

// eventBuffer is how far a subscriber may fall behind.
const eventBuffer = 512

// broadcaster hands events to subscribers. A subscriber that falls behind is cut off: its channel closes.
type broadcaster struct {
	mu   sync.Mutex
	subs map[chan Event]struct{}
}

func (b *broadcaster) publish(ev Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		select {
		case ch <- ev:
		default:
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// Events delivers what happens from now on until ctx ends. The channel closes then, or when the reader is
// more than 512 events behind; it should then look at the rows and subscribe again.
func (e *Engine) Events(ctx context.Context) <-chan Event {
	ch := make(chan Event, eventBuffer)
	b := &e.events
	b.mu.Lock()
	if b.subs == nil {
		b.subs = map[chan Event]struct{}{}
	}
	b.subs[ch] = struct{}{}
	b.mu.Unlock()
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.subs[ch]; ok {
			delete(b.subs, ch)
			close(ch)
		}
	})
	return ch
}

func (e *Engine) emit(c *container, action string, attributes map[string]string) {
	row := c.get()
	e.events.publish(Event{Time: time.Now(), Action: action, Container: row, Attributes: attributes})
	switch action { // in the journal they are as Docker's clients know them
	case "health_status":
		action, attributes = action+": "+attributes["health"], nil
	case "exec_create":
		action, attributes = action+": "+attributes["command"], nil
	}
	e.announceContainer(row, action, attributes)
}
