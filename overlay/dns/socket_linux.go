package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/miekg/dns"

	"github.com/shoal-dev/shoal/overlay/netns"
)

// socketKey tells one listening address from another; a namespace that was made anew has another inode.
type socketKey struct {
	network string
	netns   string
	inode   uint64
	addr    netip.Addr
}

// socket is an open UDP and TCP pair.
type socket struct {
	udp, tcp *dns.Server
	failed   atomic.Bool
}

func (s *socket) broken() bool { return s.failed.Load() }

// close ends both sockets. Shutdown refuses a server whose loop has not begun; closing the sockets ends that one too.
func (s *socket) close() {
	s.udp.PacketConn.Close()
	s.tcp.Listener.Close()
}

// open binds port 53 of k's address for UDP and TCP inside k's namespace. Sockets stay in the namespace in which they
// were made, so only their making happens there.
func (s *Server) open(k socketKey) (*socket, error) {
	var pc net.PacketConn
	var ln net.Listener
	err := inside(k.netns, func() (err error) {
		at := netip.AddrPortFrom(k.addr, 53)
		if pc, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
		if ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); err != nil {
			pc.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for DNS on %s: %w", k.addr, err)
	}
	h := s.handler(k.network)
	sock := &socket{udp: &dns.Server{PacketConn: pc, Handler: h}, tcp: &dns.Server{Listener: ln, Handler: h}}
	for _, srv := range []*dns.Server{sock.udp, sock.tcp} {
		go func() {
			if err := srv.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.log.Warn("DNS listener ended", "network", k.network, "addr", k.addr, "err", err)
			}
			sock.failed.Store(true)
		}()
	}
	return sock, nil
}

// inside runs fn in the namespace at path; "" is this process's.
func inside(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(fn)
}

func inodeOf(path string) uint64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Sys().(*syscall.Stat_t).Ino
}
