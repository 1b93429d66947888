package dns

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/overlay"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func view() overlay.Desired {
	ep := func(net, task, node, addr4, addr6 string, ready bool) overlay.Endpoint {
		return overlay.Endpoint{NetworkID: net, TaskID: task, ServiceID: "s1", NodeID: node, Name: "web." + task, Aliases: []string{"www"},
			Addrs: []netip.Addr{ip(addr4), ip(addr6)}, Ready: ready}
	}
	return overlay.Desired{
		Networks: []overlay.Network{{ID: "app"}, {ID: "back"}},
		Endpoints: []overlay.Endpoint{
			ep("app", "t1", "n1", "10.96.0.11", "fd00::11", true),
			ep("app", "t2", "n2", "10.96.0.12", "fd00::12", true),
			ep("app", "t3", "n2", "10.96.0.13", "fd00::13", false),
			{NetworkID: "back", TaskID: "t1", ServiceID: "s1", NodeID: "n1", Name: "web.t1", Addrs: []netip.Addr{ip("10.96.4.11")}, Ready: true},
			{NetworkID: "back", TaskID: "d1", ServiceID: "s2", NodeID: "n1", Name: "db.d1", Addrs: []netip.Addr{ip("10.96.4.12")}, Ready: true},
			{NetworkID: "app", TaskID: "l1", ServiceID: "s3", NodeID: "n1", Name: "slow.l1", Addrs: []netip.Addr{ip("10.96.0.14")}},
			{NetworkID: "", TaskID: "t1", ServiceID: "s1", NodeID: "n1", Addrs: []netip.Addr{ip("10.112.0.2")}, Ready: true},
		},
		Services: []overlay.Service{
			{ID: "s1", Name: "web", VIPs: map[string][]netip.Addr{"app": {ip("10.96.0.2"), ip("fd00::2")}}, Aliases: map[string][]string{"app": {"front"}}},
			{ID: "s2", Name: "db", DNSRR: true},
			{ID: "s3", Name: "slow", DNSRR: true},
		},
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		name, network, from, ask string
		down                     map[string]bool
		want                     []string // nil: not ours
	}{
		{name: "service is its VIP", network: "app", from: "10.96.0.12", ask: "web.", want: []string{"10.96.0.2", "fd00::2"}},
		{name: "case does not matter", network: "app", from: "10.96.0.12", ask: "WEB.", want: []string{"10.96.0.2", "fd00::2"}},
		{name: "service alias", network: "app", from: "10.96.0.12", ask: "front.", want: []string{"10.96.0.2", "fd00::2"}},
		{name: "alias that the tasks have, too", network: "app", from: "10.96.0.12", ask: "www.", want: []string{"10.96.0.2", "fd00::2"}},
		{name: "in the middle of an update that takes the network away", network: "back", from: "10.96.4.12", ask: "web.", want: []string{"10.96.4.11"}},
		{name: "tasks are the ready ones", network: "app", from: "10.96.0.12", ask: "tasks.web.", want: []string{"10.96.0.11", "10.96.0.12", "fd00::11", "fd00::12"}},
		{name: "not those of a dead node", network: "app", from: "10.96.0.12", ask: "tasks.web.", down: map[string]bool{"n2": true}, want: []string{"10.96.0.11", "fd00::11"}},
		{name: "but suspicion fails open", network: "app", from: "10.96.0.12", ask: "tasks.web.", down: map[string]bool{"n1": true, "n2": true}, want: []string{"10.96.0.11", "10.96.0.12", "fd00::11", "fd00::12"}},
		{name: "container, ready or not", network: "app", from: "10.96.0.12", ask: "web.t3.", want: []string{"10.96.0.13", "fd00::13"}},
		{name: "another network that the asker is on", network: "app", from: "10.96.0.11", ask: "db.", want: []string{"10.96.4.12"}},
		{name: "another network that it is not on", network: "app", from: "10.96.0.12", ask: "db.", want: nil},
		{name: "a service whose tasks are not ready is nowhere, and not outside", network: "app", from: "10.96.0.12", ask: "slow.", want: []string{}},
		{name: "outside", network: "app", from: "10.96.0.12", ask: "example.com.", want: nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addrs, ok := newZone(view(), tc.down).lookup(tc.network, ip(tc.from), tc.ask)
			var got []string
			if ok {
				got = []string{}
			}
			for _, a := range addrs {
				got = append(got, a.String())
			}
			slices.Sort(got)
			if ok != (tc.want != nil) || !cmp.Equal(got, tc.want) {
				t.Errorf("got %v %v, want %v", got, ok, tc.want)
			}
		})
	}
}

// An update takes a service from one network to the other: who is on both is told where it answers.
func TestNameOfAServiceThatMoves(t *testing.T) {
	both := func(ready string) overlay.Desired {
		d := overlay.Desired{
			Networks: []overlay.Network{{ID: "old"}, {ID: "new"}},
			Services: []overlay.Service{{ID: "s", Name: "web", Aliases: map[string][]string{"old": {"www"}, "new": {"www"}},
				VIPs: map[string][]netip.Addr{"old": {ip("10.1.0.2")}, "new": {ip("10.2.0.2")}}}},
		}
		for _, net := range []string{"old", "new"} {
			d.Endpoints = append(d.Endpoints,
				overlay.Endpoint{NetworkID: net, TaskID: "client", Addrs: []netip.Addr{ip("10.0.0.9")}},
				overlay.Endpoint{NetworkID: net, TaskID: net, ServiceID: "s", Addrs: []netip.Addr{ip("10.0.0.7")}, Ready: net == ready})
		}
		return d
	}
	for ready, want := range map[string]string{"old": "10.1.0.2", "new": "10.2.0.2", "": "10.1.0.2"} {
		for _, name := range []string{"web.", "www."} {
			got, _ := newZone(both(ready), nil).lookup("old", ip("10.0.0.9"), name)
			if len(got) != 1 || got[0].String() != want {
				t.Errorf("%s answers on %q: %s is %v, want %s", "web", ready, name, got, want)
			}
		}
	}
}

// An alias of one service may be the name of another, or its alias: then it means both, whichever row comes first.
func TestSharedAlias(t *testing.T) {
	d := overlay.Desired{
		Networks: []overlay.Network{{ID: "app"}},
		Endpoints: []overlay.Endpoint{
			{NetworkID: "app", TaskID: "o1", ServiceID: "old", Addrs: []netip.Addr{ip("10.96.0.11")}, Aliases: []string{"DB"}, Ready: true},
			{NetworkID: "app", TaskID: "o2", ServiceID: "old", Addrs: []netip.Addr{ip("10.96.0.12")}, Aliases: []string{"DB"}, Ready: true},
		},
		Services: []overlay.Service{
			{ID: "db", Name: "db", VIPs: map[string][]netip.Addr{"app": {ip("10.96.0.2")}}},
			{ID: "old", Name: "old", DNSRR: true, Aliases: map[string][]string{"app": {"db"}}},
		},
	}
	for range 2 {
		got, _ := newZone(d, nil).lookup("app", ip("10.96.0.11"), "db.")
		slices.SortFunc(got, netip.Addr.Compare)
		if want := []netip.Addr{ip("10.96.0.2"), ip("10.96.0.11"), ip("10.96.0.12")}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		slices.Reverse(d.Services)
	}
}

func TestReverse(t *testing.T) {
	z := newZone(view(), nil)
	for in, want := range map[string]string{
		"11.0.96.10.in-addr.arpa.": "web.t1.",
		"1.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.": "web.t1.",
	} {
		q := new(dns.Msg).SetQuestion(in, dns.TypePTR)
		m, ok := nameserver.Answer(q, asker{z, "app", ip("10.96.0.12")})
		if !ok || len(m.Answer) != 1 || m.Answer[0].(*dns.PTR).Ptr != want {
			t.Errorf("%s: got %v %v, want %s", in, m, ok, want)
		}
	}
}

// TestServer asks over real sockets: our names from the view, the rest through a real resolver of its own.
func TestServer(t *testing.T) {
	up := upstream(t, "example.com.", "192.0.2.1")
	s := running(t, "127.0.0.1:1", up)
	s.Listen([]Listener{{NetworkID: "app", Addrs: []netip.Addr{ip("127.0.53.53")}}})

	for _, network := range []string{"udp", "tcp"} {
		for _, tc := range []struct {
			name  string
			qtype uint16
			want  string
		}{
			{"web.", dns.TypeA, "10.96.0.2"},
			{"web.", dns.TypeAAAA, "fd00::2"},
			{"example.com.", dns.TypeA, "192.0.2.1"},
		} {
			m := ask(t, network, "127.0.53.53:53", tc.name, tc.qtype)
			if len(m.Answer) != 1 || address(m.Answer[0]) != tc.want {
				t.Errorf("%s %s %s: got %v, want %s", network, tc.name, dns.TypeToString[tc.qtype], m.Answer, tc.want)
			}
		}
	}
	if m := ask(t, "udp", "127.0.53.53:53", "web.", dns.TypeMX); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 {
		t.Errorf("MX of our name: got %v, want an empty success", m)
	}
}

// running is a server that knows the view and those resolvers, until the test ends.
func running(t *testing.T, upstreams ...string) *Server {
	t.Helper()
	var resolvers []nameserver.Resolver
	for _, u := range upstreams {
		resolvers = append(resolvers, nameserver.Resolver{Addr: u})
	}
	s := New(func() []nameserver.Resolver { return resolvers }, slog.New(slog.DiscardHandler))
	s.Set(view())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func address(rr dns.RR) string {
	switch r := rr.(type) {
	case *dns.A:
		return r.A.String()
	case *dns.AAAA:
		return r.AAAA.String()
	}
	return rr.String()
}

// ask retries until the listener is up.
func ask(t *testing.T, network, server, name string, qtype uint16) *dns.Msg {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		m, _, err := (&dns.Client{Net: network, Timeout: 3 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, qtype), server)
		if err == nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func upstream(t *testing.T, name, addr string) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	h := knows(name, addr)
	go (&dns.Server{PacketConn: pc, Handler: h}).ActivateAndServe()
	go (&dns.Server{Listener: ln, Handler: h}).ActivateAndServe()
	t.Cleanup(func() { pc.Close(); ln.Close() })
	return pc.LocalAddr().String()
}

func knows(name, addr string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == name {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(addr)})
		}
		w.WriteMsg(m)
	})
}
