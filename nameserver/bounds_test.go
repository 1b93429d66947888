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

// slow is a handler whose resolver does not answer.
type slow struct {
	asked atomic.Int32
	gate  chan struct{}
}

func (s *slow) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.asked.Add(1)
	<-s.gate
	Refuse(w, q, dns.RcodeNameError)
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
	}{{"udp", question, maxQuestions + 500, maxQuestions}, {"tcp", overTCP, maxConnections + 50, maxConnections}} {
		t.Run(tt.network, func(t *testing.T) {
			h := &slow{gate: make(chan struct{})}
			s, err := Listen("", netip.MustParseAddrPort("127.0.0.1:0"), h, slog.New(slog.DiscardHandler))
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
			close(h.gate)
			for range tt.ask {
				if !<-answers {
					t.Fatal("a question has no answer")
				}
			}
		})
	}
}
