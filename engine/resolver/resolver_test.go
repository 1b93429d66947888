//go:build linux

package resolver

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/nameserver"
)

// space is a network namespace with its loopback up.
func space(t testing.TB) string {
	enginetest.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := thread.Spend(func() error {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = enginetest.Loopback()
		}
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

type oneName struct{}

func (oneName) Lookup(name string) ([]netip.Addr, bool) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, name == "web"
}
func (oneName) Reverse(netip.Addr) (string, bool) { return "", false }

func ask(t *testing.T, ns, network, name string) (*dns.Msg, error) {
	t.Helper()
	var c net.Conn
	err := nameserver.Inside(ns, func() (err error) {
		c, err = net.Dial(network, "127.0.0.11:53")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m, _, err := (&dns.Client{Net: network}).ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), &dns.Conn{Conn: c})
	return m, err
}

func TestServer(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	ns, elsewhere := space(t), space(t)
	a := Asker{Container: "a", NetNS: ns, Names: oneName{}, Outside: func() []nameserver.Resolver { return nil }}
	for range 2 { // the second time anew, as after a restart
		for range 2 { // may be repeated
			if err := s.Open(a); err != nil {
				t.Fatal(err)
			}
		}
		for _, network := range []string{"udp", "tcp"} {
			if m, err := ask(t, ns, network, "web."); err != nil || len(m.Answer) != 1 {
				t.Errorf("%s: %v, %v", network, m, err)
			}
			if m, err := ask(t, ns, network, "outside."); err != nil || m.Rcode != dns.RcodeNameError {
				t.Errorf("%s, a name outside: %v, %v", network, m, err)
			}
			if _, err := ask(t, elsewhere, network, "web."); err == nil {
				t.Errorf("%s: another namespace has an answer", network)
			}
		}
		s.CloseAll()
	}
	if _, err := ask(t, ns, "tcp", "web."); err == nil {
		t.Error("answers after its end")
	}
}

func BenchmarkOpen(b *testing.B) {
	s := New(slog.New(slog.DiscardHandler))
	a := Asker{Container: "a", NetNS: space(b), Names: oneName{}, Outside: func() []nameserver.Resolver { return nil }}
	for b.Loop() {
		if err := s.Open(a); err != nil {
			b.Fatal(err)
		}
		s.Close("a")
	}
}
