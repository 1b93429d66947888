//go:build linux

package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// Kinds of objects that events are about.
const (
	aboutContainer = "container"
	aboutImage     = "image"
	aboutVolume    = "volume"
	aboutNetwork   = "network"
)

// journalSize is how many events of the past are kept for those who ask later.
const journalSize = 256

// journal keeps the last events and hands new ones to those who follow. Like all events these are hints for people and
// tools: a reader that is too slow is told so and starts over.
type journal struct {
	mu   sync.Mutex
	last []*api.Event
	subs map[chan *api.Event]struct{}
}

func (j *journal) add(ev *api.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ev.Time = timestamppb.Now() // here, so that times are in the order of the events
	j.last = append(j.last[max(0, len(j.last)+1-journalSize):], ev)
	for ch := range j.subs {
		select {
		case ch <- ev:
		default:
			delete(j.subs, ch)
			close(ch)
		}
	}
}

// follow gives what is kept, and a channel for what comes.
func (j *journal) follow() (last []*api.Event, ch chan *api.Event, stop func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ch = make(chan *api.Event, eventBuffer)
	if j.subs == nil {
		j.subs = map[chan *api.Event]struct{}{}
	}
	j.subs[ch] = struct{}{}
	return slices.Clone(j.last), ch, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.subs, ch)
	}
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

// announce tells what happened to something.
func (e *Engine) announce(about, action, id string, attributes map[string]string) {
	e.journal.add(&api.Event{Type: about, Action: action, Id: id, Attributes: attributes})
}

// announceContainer adds what is known of the container: its labels, image and name.
func (e *Engine) announceContainer(row *api.Container, action string, attributes map[string]string) {
	all := maps.Clone(row.Spec.GetLabels())
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, attributes)
	all["image"], all["name"] = row.ImageName, row.Name
	e.announce(aboutContainer, action, row.Id, all)
}

// announceImage is what the image store tells its changes to.
func (e *Engine) announceImage(action, id, name string) {
	attributes := map[string]string{}
	if name != "" {
		attributes["name"] = name
	}
	e.announce(aboutImage, action, id, attributes)
}

// announceNetworks tells that a container is on its networks, or not any more.
func (e *Engine) announceNetworks(row *api.Container, action string) {
	for _, ep := range row.Endpoints {
		if n, err := e.cfg.Networks.Get(ep.NetworkId); err == nil {
			e.announceNetwork(row, n, action)
		}
	}
}

func (e *Engine) announceNetwork(row *api.Container, n *api.LocalNetwork, action string) {
	e.announce(aboutNetwork, action, n.Id, map[string]string{"container": row.Id, "name": n.Name, "type": n.Driver})
}

// announceVolumes tells that a container has its volumes mounted, or not any more.
func (e *Engine) announceVolumes(row *api.Container, action string) {
	for _, p := range row.Mounts {
		if p.Type != "volume" {
			continue
		}
		attributes := map[string]string{"container": row.Id, "driver": p.Driver}
		if action == "mount" {
			attributes["destination"] = p.Destination
		}
		e.announce(aboutVolume, action, p.Name, attributes)
	}
}
