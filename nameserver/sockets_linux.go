package nameserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/vishvananda/netns"

	"github.com/shoal-dev/shoal/internal/thread"
)

// Sockets are an open UDP and TCP pair that somebody answers on.
type Sockets struct {
	udp, tcp *dns.Server
	failed   atomic.Bool
}

// Listen opens a pair at an address inside a network namespace ("": this process's). Sockets stay in the namespace in
// which they were made, so only their making happens there. Port 0 takes a free one, which may differ for the two.
func Listen(netns string, at netip.AddrPort, h dns.Handler, log *slog.Logger) (*Sockets, error) {
	var pc net.PacketConn
	var ln net.Listener
	err := Inside(netns, func() (err error) {
		if pc, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
		if ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); err != nil {
			pc.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for DNS on %s: %w", at, err)
	}
	s := &Sockets{udp: &dns.Server{PacketConn: pc, Handler: h}, tcp: &dns.Server{Listener: newBoundedListener(ln), Handler: h}}
	for _, srv := range []*dns.Server{s.udp, s.tcp} {
		go func() {
			if err := srv.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				log.Warn("DNS listener ended", "addr", at, "error", err)
			}
			s.failed.Store(true)
		}()
	}
	return s, nil
}

// Ports are where the two listen.
func (s *Sockets) Ports() (udp, tcp uint16) {
	return s.udp.PacketConn.LocalAddr().(*net.UDPAddr).AddrPort().Port(), s.tcp.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// Broken says that a socket has ended by itself.
func (s *Sockets) Broken() bool { return s.failed.Load() }

// Close ends both. Shutdown refuses a server whose loop has not begun; closing the sockets ends that one too.
func (s *Sockets) Close() {
	s.udp.PacketConn.Close()
	s.tcp.Listener.Close()
}

// Inside runs fn on a thread of its own in the namespace at path ("" is this process's). The thread is never used for
// anything else: it ends with its goroutine because it stays locked.
func Inside(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	return thread.Spend(func() error {
		ns, err := netns.GetFromPath(path)
		if err != nil {
			return fmt.Errorf("open namespace %s: %w", path, err)
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter namespace %s: %w", path, err)
		}
		return fn()
	})
}
