//go:build linux

package nameserver

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestHostResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("# c\nsearch x\nnameserver 127.0.0.53\nnameserver fd00::1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []Resolver{{Addr: "127.0.0.53:53"}, {Addr: "[fd00::1]:53"}}
	if got := HostResolvers(path); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// book knows one name with many addresses.
type book struct{ addrs []netip.Addr }

func (b book) Lookup(name string) ([]netip.Addr, bool) { return b.addrs, name == "web" }
func (b book) Reverse(addr netip.Addr) (string, bool)  { return "web", addr == b.addrs[0] }
func (b book) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if m, ok := Answer(q, b); ok {
		Write(w, q, m)
		return
	}
	Refuse(w, q, dns.RcodeNameError)
}

// Who says how much it takes hears how much we take, and never gets more than fits a datagram.
func TestExtendedAnswer(t *testing.T) {
	b := book{}
	for i := range 6000 {
		b.addrs = append(b.addrs, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
	s, err := Listen("", netip.MustParseAddrPort("127.0.0.1:0"), b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	udp, _ := s.Ports()
	q := new(dns.Msg).SetQuestion("web.", dns.TypeA)
	q.SetEdns0(dns.MaxMsgSize, false)
	m, _, err := new(dns.Client).Exchange(q, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), udp).String())
	if err != nil {
		t.Fatal(err)
	}
	if !m.Truncated || m.IsEdns0() == nil || len(m.Answer) < 100 {
		t.Errorf("truncated %v, %d answers, extension %v", m.Truncated, len(m.Answer), m.IsEdns0())
	}
}

func TestAnswer(t *testing.T) {
	b := book{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  int // answers; -1: not ours
	}{
		{"WEB.", dns.TypeA, 1}, {"web.", dns.TypeAAAA, 1}, {"web.", dns.TypeMX, 0}, {"other.", dns.TypeA, -1},
		{"1.2.0.192.in-addr.arpa.", dns.TypePTR, 1}, {"2.2.0.192.in-addr.arpa.", dns.TypePTR, -1}, {"x.in-addr.arpa.", dns.TypePTR, -1},
	} {
		m, ok := Answer(new(dns.Msg).SetQuestion(tc.name, tc.qtype), b)
		if ok != (tc.want >= 0) || ok && len(m.Answer) != tc.want {
			t.Errorf("%s %s: got %v, %v", tc.name, dns.TypeToString[tc.qtype], m.Answer, ok)
		}
	}
}

// A long answer is cut over UDP, so that the asker comes again over TCP.
func TestLongAnswer(t *testing.T) {
	b := book{}
	for i := range 200 {
		b.addrs = append(b.addrs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	s, err := Listen("", netip.MustParseAddrPort("127.0.0.1:0"), b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	udp, tcp := s.Ports()
	for network, port := range map[string]uint16{"udp": udp, "tcp": tcp} {
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()
		m, _, err := (&dns.Client{Net: network}).Exchange(new(dns.Msg).SetQuestion("web.", dns.TypeA), at)
		if err != nil {
			t.Fatal(err)
		}
		if cut := network == "udp"; m.Truncated != cut || !cut && len(m.Answer) != 200 {
			t.Errorf("%s: truncated %v, %d answers", network, m.Truncated, len(m.Answer))
		}
	}
}
