//go:build linux

// Package resolver is the DNS server of containers on networks of their own. It listens on 127.0.0.11 inside each
// container's network namespace. So no firewall of the host and no other DNS server stands between the two, containers
// that cannot reach the host (macvlan) have it all the same, and who asks is never in doubt.
//
// It holds sockets and nothing else: what names mean it asks anew for every question.
package resolver

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/nameserver"
)

// Asker is one container.
type Asker struct {
	Container string // ID
	NetNS     string // path
	Names     nameserver.Names
	// Outside gives the resolvers for all other names; none: there are no other names.
	Outside func() []nameserver.Resolver
}

// Server listens for all containers of an engine. Its methods may be called concurrently.
type Server struct {
	log  *slog.Logger
	mu   sync.Mutex
	open map[string]*nameserver.Sockets // by container
}

// New makes a server that nobody can ask yet.
func New(log *slog.Logger) *Server {
	return &Server{log: log, open: map[string]*nameserver.Sockets{}}
}

// Open lets a container ask, from when it returns. It may be repeated.
func (s *Server) Open(a Asker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.open[a.Container]; old != nil {
		if !old.Broken() {
			return nil
		}
		s.close(a.Container)
	}
	desk := nameserver.NewDesk(func(netip.Addr) nameserver.Names { return a.Names }, func(netip.Addr) []nameserver.Resolver { return a.Outside() })
	sockets, err := nameserver.Listen(a.NetNS, netip.AddrPortFrom(network.ResolverAddr, 0), desk, s.log.With("container", a.Container))
	if err != nil {
		return err
	}
	udp, tcp := sockets.Ports()
	if err := network.RedirectDNS(a.NetNS, udp, tcp); err != nil {
		sockets.Close()
		return fmt.Errorf("let container ask for names: %w", err)
	}
	s.open[a.Container] = sockets
	return nil
}

// Close ends it for one container; one that never could ask is fine.
func (s *Server) Close(container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(container)
}

func (s *Server) close(container string) {
	if sockets := s.open[container]; sockets != nil {
		sockets.Close()
		delete(s.open, container)
	}
}

// CloseAll ends it for all.
func (s *Server) CloseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for container := range s.open {
		s.close(container)
	}
}
