package dispatcher

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// endpoints makes each view of an endpoint once for all nodes that are told of it: with ten thousand tasks on a network of
// a hundred nodes there would be a million, and each resync would make and compare them all. A view that was made of the
// same rows is the same pointer.
type endpoints struct {
	mu        sync.Mutex
	now, last map[key]endpoint
	turned    time.Time
}

// endpoint is a view and the rows that it was made of.
type endpoint struct {
	task *api.Task
	svc  *api.Service // of a gateway's endpoint
	view *api.EndpointView
}

// turn is how often what nobody asks for is dropped. Every node asks for all that it is told at each resync.
const turn = 3 * resync

func newEndpoints() *endpoints {
	return &endpoints{now: map[key]endpoint{}, last: map[key]endpoint{}, turned: time.Now()}
}

// get returns the view that was made of these rows, or has it made.
func (e *endpoints) get(k key, t *api.Task, svc *api.Service, build func() *api.EndpointView) *api.EndpointView {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.turned) > turn {
		e.now, e.last, e.turned = make(map[key]endpoint, len(e.now)), e.now, time.Now()
	}
	old, ok := e.now[k]
	if ok && old.task == t && old.svc == svc {
		return old.view
	}
	if !ok {
		old = e.last[k]
	}
	if old.task != t || old.svc != svc {
		// A new row may say the same, and then the view of before does.
		if view := build(); old.view == nil || !proto.Equal(old.view, view) {
			old.view = view
		}
		old.task, old.svc = t, svc
	}
	e.now[k] = old
	return old.view
}
