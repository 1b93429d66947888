package dns

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/overlay"
)

// Listener is one place where containers ask.
type Listener struct {
	NetworkID string // "" for the gateway bridge: outside names only
	NetNS     string // path of the namespace to listen in, "" for the daemon's own
	Addrs     []netip.Addr
}

// Server answers on a desired set of listeners. Create with New, drive with Run.
type Server struct {
	log      *slog.Logger
	upstream func() []nameserver.Resolver

	mu      sync.RWMutex
	desired overlay.Desired
	down    map[string]bool
	zone    *zone
	want    []Listener
	// Containers, and those with resolvers of their own by the addresses that they ask from.
	attached map[string]overlay.Attachment
	own      map[owner]overlay.Attachment
	wake     chan struct{}
}

// New returns a server without listeners. upstreams gives the host's resolvers, anew for every forwarded
// question.
func New(upstreams func() []nameserver.Resolver, log *slog.Logger) *Server {
	return &Server{log: log.With("component", "dns"), upstream: upstreams, zone: newZone(overlay.Desired{}, nil), wake: make(chan struct{}, 1),
		attached: map[string]overlay.Attachment{}}
}

// Set replaces what the names mean.
func (s *Server) Set(d overlay.Desired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desired = d
	s.zone = newZone(d, s.down)
}

// SetDown names the nodes that do not answer.
func (s *Server) SetDown(down map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = maps.Clone(down)
	s.zone = newZone(s.desired, s.down)
}

// Listen replaces the set of listeners; Run opens and closes sockets until they match.
func (s *Server) Listen(l []Listener) {
	s.mu.Lock()
	s.want = l
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run keeps the sockets equal to the listeners asked for. An address that cannot be bound yet (its sandbox is not
// there) is tried again.
func (s *Server) Run(ctx context.Context) error {
	open := map[socketKey]*nameserver.Sockets{}
	defer func() {
		for _, k := range open {
			k.Close()
		}
	}()
	retry := time.NewTicker(250 * time.Millisecond)
	defer retry.Stop()
	for {
		s.reconcile(open)
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-retry.C:
		}
	}
}

func (s *Server) reconcile(open map[socketKey]*nameserver.Sockets) {
	s.mu.RLock()
	want := map[socketKey]bool{}
	for _, l := range s.want {
		inode := inodeOf(l.NetNS)
		for _, a := range l.Addrs {
			want[socketKey{l.NetworkID, l.NetNS, inode, a}] = true
		}
	}
	s.mu.RUnlock()
	for k, sock := range open {
		if !want[k] || sock.Broken() {
			sock.Close()
			delete(open, k)
		}
	}
	for k := range want {
		if open[k] != nil {
			continue
		}
		sock, err := s.open(k)
		if err != nil {
			s.log.Debug("cannot listen yet", "network", k.network, "addr", k.addr, "error", err)
			continue
		}
		open[k] = sock
	}
}

// handler answers for one network.
func (s *Server) handler(network string) dns.Handler {
	names := func(from netip.Addr) nameserver.Names {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return asker{s.zone, network, from}
	}
	return nameserver.NewDesk(names, func(from netip.Addr) []nameserver.Resolver { return s.outside(network, from) })
}
