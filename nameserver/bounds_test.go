//go:build linux

package nameserver

import (
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/shoal-dev/shoal/internal/poll"
)

const patience = time.Minute

// slow is an outside whose resolvers do not answer, inside which there is one name.
type slow struct {
	book
	asked atomic.Int32
	gate  chan struct{}
}

func (s *slow) outside(netip.Addr) []Resolver {
	s.asked.Add(1)
	<-s.gate
	return nil
}

func (s *slow) desk() *Desk {
	return NewDesk(func(netip.Addr) Names { return s.book }, s.outside)
}

// TestFlood asks more than anybody should, over UDP and then over TCP.
func TestFlood(t *testing.T) {
	question, err := new(dns.Msg).SetQuestion("x.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	overTCP := append([]byte{byte(len(question) >> 8), byte(len(question))}, question...)
	for _, tt := range []struct {
		network  string
		question []byte
		ask, max int
	}{{"udp", question, maxOfOne + 300, maxOfOne}, {"tcp", overTCP, maxConnections + 50, maxConnections}} {
		t.Run(tt.network, func(t *testing.T) {
			h := &slow{gate: make(chan struct{}), book: book{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}
			s, err := Listen("", netip.MustParseAddrPort("127.0.0.1:0"), h.desk(), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			udp, tcp := s.Ports()
			port := map[string]uint16{"udp": udp, "tcp": tcp}[tt.network]
			answers := make(chan bool, tt.ask)
			for i := range tt.ask {
				c, err := net.Dial(tt.network, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write(tt.question); err != nil {
					t.Fatal(err)
				}
				c.SetReadDeadline(time.Now().Add(patience))
				read := func() {
					n, err := c.Read(make([]byte, 512))
					answers <- err == nil && n > 0
					c.Close()
				}
				if tt.network == "udp" && i >= tt.max { // refused at once
					read()
				} else {
					go read()
				}
				if !poll.Until(patience, func() bool { return int(h.asked.Load()) >= min(i+1, tt.max) }) {
					t.Fatalf("%d of %d are being answered", h.asked.Load(), i+1)
				}
			}
			if n := int(h.asked.Load()); n != tt.max {
				t.Errorf("%d questions are being answered at a time, want %d", n, tt.max)
			}
			if tt.network == "udp" {
				// Names of ours are answered all the same, and to others those of others: here an asker is an address.
				server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), udp).String()
				if m, _, err := (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetQuestion("web.", dns.TypeA), server); err != nil || len(m.Answer) != 1 {
					t.Errorf("a name of ours, while the resolvers do not answer: %v, %v", m, err)
				}
				c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("udp", server)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.Write(tt.question)
				if !poll.Until(patience, func() bool { return int(h.asked.Load()) == tt.max+1 }) {
					t.Error("another asker is refused")
				}
				h.asked.Add(-1)
			}
			close(h.gate)
			for range tt.ask {
				if !<-answers {
					t.Fatal("a question has no answer")
				}
			}
		})
	}
}
