//go:build linux

package agent

import (
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// managers is whom this node may talk to.
type managers struct {
	mu      sync.Mutex
	seeds   []string
	known   []*api.WeightedManager
	down    map[string]bool      // by node ID, gossip's word
	failed  map[string]time.Time // by address
	current string               // node ID of the session's manager
	drop    func()               // ends that session
	changed chan struct{}        // closed at the next change of known
}

func newManagers(seeds []string, known []*api.WeightedManager) *managers {
	return &managers{seeds: seeds, known: known, failed: map[string]time.Time{}, changed: make(chan struct{})}
}

// set replaces the known managers and tells whether that is news.
func (m *managers) set(known []*api.WeightedManager) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(known) == 0 || proto.Equal(&api.SessionMessage{Managers: known}, &api.SessionMessage{Managers: m.known}) {
		return false
	}
	m.known = known
	close(m.changed)
	m.changed = make(chan struct{})
	return true
}

func (m *managers) list() []*api.WeightedManager {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known
}

// watch returns the addresses of all managers and a channel that is closed when they change.
func (m *managers) watch() ([]string, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) == 0 {
		return m.seeds, m.changed
	}
	var out []string
	for _, k := range m.known {
		out = append(out, k.Addr)
	}
	return out, m.changed
}

func (m *managers) setDown(nodes map[string]bool) {
	m.mu.Lock()
	m.down = nodes
	drop := m.drop
	lost := m.current != "" && nodes[m.current]
	m.mu.Unlock()
	if lost && drop != nil {
		drop()
	}
}

// use notes with whom the session is.
func (m *managers) use(addr string, drop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.drop = "", drop
	for _, k := range m.known {
		if k.Addr == addr {
			m.current = k.NodeId
		}
	}
}

func (m *managers) fail(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed[addr] = time.Now()
}

// pick returns the address to try next: not one that gossip calls dead, not the leader if there are others, the
// one whose last failure is longest ago, any of equals. "" if none is known.
func (m *managers) pick() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	best, cost := "", time.Duration(0)
	try := func(addr string, penalty time.Duration) {
		c := penalty + time.Duration(rand.Int64N(int64(time.Millisecond)))
		if at, ok := m.failed[addr]; ok {
			c += max(0, time.Minute-time.Since(at))
		}
		if best == "" || c < cost {
			best, cost = addr, c
		}
	}
	for _, k := range m.known {
		var penalty time.Duration
		if k.Leader {
			penalty = time.Second
		}
		if m.down[k.NodeId] {
			penalty = time.Hour
		}
		try(k.Addr, penalty)
	}
	if len(m.known) == 0 {
		for _, addr := range m.seeds {
			try(addr, 0)
		}
	}
	return best
}
