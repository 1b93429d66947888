//go:build linux

package engine

import "sync"

// eventBuffer is how far a subscriber may fall behind.
const eventBuffer = 512

// broadcaster hands what is published to all who have subscribed. A subscriber that falls behind is cut off: its channel closes.
type broadcaster[T any] struct {
	mu   sync.Mutex
	subs map[chan T]struct{}
}

func (b *broadcaster[T]) publish(v T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		select {
		case ch <- v:
		default:
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// subscribe delivers what is published from now on until end, which closes the channel.
func (b *broadcaster[T]) subscribe() (ch chan T, end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan T]struct{}{}
	}
	ch = make(chan T, eventBuffer)
	b.subs[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, there := b.subs[ch]; there {
			delete(b.subs, ch)
			close(ch)
		}
	}
}
