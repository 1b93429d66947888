//go:build linux

package engine

import (
	"context"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// Event is something that happened to a container. Events are hints for those who show or wake up;
// whoever must not miss anything reads the rows.
type Event struct {
	Time time.Time
	// Action: create, start, pause, unpause, die, oom, restart, rename, update, destroy, health_status and others. What changes no row
	// (kill, stop, attach) is in the journal only.
	Action     string
	Container  *api.Container // the row after the event; not to be changed
	Attributes map[string]string
}

// Events delivers what happens from now on until ctx ends. The channel closes then, or when the reader is
// more than 512 events behind; it should then look at the rows and subscribe again.
func (e *Engine) Events(ctx context.Context) <-chan Event {
	ch, end := e.events.subscribe()
	context.AfterFunc(ctx, end)
	return ch
}
