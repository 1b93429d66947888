package dns

import (
	"net"
	"net/netip"
	"slices"

	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/overlay"
)

// Attach notes which resolvers a container wants to be asked for it. It may be repeated.
func (s *Server) Attach(a overlay.Attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached[a.ID] = a
	s.index()
}

// Detach forgets a container.
func (s *Server) Detach(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.attached, id)
	s.index()
}

// index makes the resolvers found by who asks. Called with mu held.
func (s *Server) index() {
	s.own = map[owner]overlay.Attachment{}
	for _, a := range s.attached {
		if len(a.Resolvers) == 0 {
			continue
		}
		for _, n := range a.Networks {
			for _, addr := range n.Addrs {
				s.own[owner{n.NetworkID, addr.Unmap()}] = a
			}
		}
		for _, g := range a.Gateway {
			s.own[owner{"", g.Addr().Unmap()}] = a
		}
	}
}

// outside are the resolvers for whoever asks from addr: the container's own, asked from where it is, or the host's. This server
// is none of them: containers name it first, and it would ask itself without end.
func (s *Server) outside(network string, from netip.Addr) []nameserver.Resolver {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.own[owner{network, from}]
	out := []nameserver.Resolver{}
	for _, r := range a.Resolvers {
		if !s.listensAt(r) {
			out = append(out, nameserver.Resolver{Addr: net.JoinHostPort(r.String(), "53"), NetNS: a.NetNS})
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, r := range s.upstream() {
		if at, err := netip.ParseAddrPort(r.Addr); err != nil || at.Port() != 53 || !s.listensAt(at.Addr()) {
			out = append(out, r)
		}
	}
	return out
}

func (s *Server) listensAt(addr netip.Addr) bool {
	return slices.ContainsFunc(s.want, func(l Listener) bool { return slices.Contains(l.Addrs, addr) })
}
