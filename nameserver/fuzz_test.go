//go:build linux

package nameserver

import (
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// sink takes answers, over UDP or TCP.
type sink struct {
	dns.ResponseWriter
	from net.Addr
	sent []*dns.Msg
}

func (s *sink) RemoteAddr() net.Addr        { return s.from }
func (s *sink) WriteMsg(m *dns.Msg) error   { s.sent = append(s.sent, m); return nil }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// FuzzQuestion answers what any bytes ask: with one message, that can be sent and is no longer than the asker takes.
func FuzzQuestion(f *testing.F) {
	b := book{}
	for i := range 100 {
		b.addrs = append(b.addrs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	desk := NewDesk(func(netip.Addr) Names { return b }, func(netip.Addr) []Resolver { return nil })
	for _, q := range []*dns.Msg{
		new(dns.Msg).SetQuestion("web.", dns.TypeA), new(dns.Msg).SetQuestion("WeB.", dns.TypeANY), new(dns.Msg).SetQuestion("0.2.0.192.in-addr.arpa.", dns.TypePTR),
		new(dns.Msg).SetQuestion("x.ip6.arpa.", dns.TypePTR), new(dns.Msg).SetEdns0(65535, true), new(dns.Msg).SetQuestion("web.", dns.TypeA).SetEdns0(1, false),
	} {
		raw, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, false)
		f.Add(raw, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, tcp bool) {
		q := new(dns.Msg)
		if q.Unpack(raw) != nil {
			return
		}
		w := &sink{from: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}}
		if tcp {
			w.from = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
		}
		desk.ServeDNS(w, q)
		if len(w.sent) != 1 {
			t.Fatalf("%d answers", len(w.sent))
		}
		out, err := w.sent[0].Pack()
		if err != nil {
			t.Fatalf("an answer that cannot be sent: %v", err)
		}
		if most := sizeLimit(w, q); len(out) > most {
			t.Errorf("an answer of %d bytes to who takes %d", len(out), most)
		}
		if w.sent[0].Id != q.Id || !w.sent[0].Response {
			t.Error("an answer to another question")
		}
	})
}
