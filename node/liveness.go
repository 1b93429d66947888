//go:build linux

package node

import (
	"sync"

	"github.com/shoal-dev/shoal/overlay/gossip"
)

// liveness is gossip's word, also before gossip runs: then nobody is down.
type liveness struct {
	mu      sync.Mutex
	pool    *gossip.Pool
	started chan struct{} // closed when pool is set
}

func newLiveness() *liveness { return &liveness{started: make(chan struct{})} }

func (l *liveness) follow(p *gossip.Pool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pool = p
	close(l.started)
}

func (l *liveness) current() *gossip.Pool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pool
}

// Down is the nodes that were members and do not answer.
func (l *liveness) Down() map[string]bool {
	if p := l.current(); p != nil {
		return p.Down()
	}
	return nil
}

// Members is the nodes that answer.
func (l *liveness) Members() []string {
	if p := l.current(); p != nil {
		return p.Members()
	}
	return nil
}

// Changed is closed at the next change of Down.
func (l *liveness) Changed() <-chan struct{} {
	if p := l.current(); p != nil {
		return p.Changed()
	}
	return l.started
}
