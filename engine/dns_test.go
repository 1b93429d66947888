//go:build linux

package engine

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/proto/api"
)

// on is a container of some networks that sleeps.
func on(name string, networks ...*api.LocalNetworkAttachment) *api.CreateContainerRequest {
	r := request(name, "sleep 1000")
	r.NetworkMode, r.Networks = "", networks
	return r
}

func at(network string, aliases ...string) *api.LocalNetworkAttachment {
	return &api.LocalNetworkAttachment{Network: network, Aliases: aliases}
}

func (l *lab) network(n *api.LocalNetwork) *api.LocalNetwork {
	l.t.Helper()
	made, err := l.CreateNetwork(l.ctx(), n)
	if err != nil {
		l.t.Fatal(err)
	}
	return made
}

// v4 is a container's first address on a network.
func (l *lab) v4(ref, network string) string {
	l.t.Helper()
	for _, ep := range l.row(ref).Endpoints {
		if ep.Network == network {
			return netip.MustParsePrefix(ep.Addresses[0]).Addr().String()
		}
	}
	l.t.Fatalf("%s is not on %s", ref, network)
	return ""
}

// resolve asks as a program in a container does; "" if there is no such name.
func (l *lab) resolve(ref, name string) string {
	l.t.Helper()
	out := l.exec(ref, "nslookup -type=a "+name+" 2>&1; true")
	_, answer, _ := strings.Cut(out, "Name:")
	_, addr, _ := strings.Cut(answer, "Address: ")
	return strings.TrimSpace(addr)
}

func TestNames(t *testing.T) {
	setResolver(t, "192.0.2.53")
	l := openLab(t)
	up := upstreamDNS(t, "198.51.100.1", "outside.example.", "192.0.2.7")
	for _, n := range []string{"one", "two"} {
		l.network(&api.LocalNetwork{Name: n, Ipv6: true})
	}
	l.network(&api.LocalNetwork{Name: "closed", Internal: true})
	r := on("web", at("one", "www", "Shop"))
	r.Spec.Hostname = "frontend"
	web := l.run(r)
	asker := l.run(on("asker", at("one")))
	both := l.run(on("both", at("two"), at("one")))
	other := l.run(on("other", at("two", "www")))
	first, _ := l.run(on("first", at(NetworkBridge))), l.run(on("second", at(NetworkBridge)))
	closed := l.run(on("closed1", at("closed")))

	if got := l.exec(asker, "cat /etc/resolv.conf"); !strings.HasPrefix(got, "nameserver 127.0.0.11\n") || !strings.Contains(got, "ndots:0") {
		t.Errorf("resolv.conf of a container with names: %q", got)
	}
	if got := l.exec(first, "cat /etc/resolv.conf"); strings.Contains(got, "127.0.0.11") {
		t.Errorf("resolv.conf on the default bridge: %q", got)
	}
	webAddr := l.v4(web, "one")
	for _, tc := range []struct{ from, name, want string }{
		{asker, "web", webAddr}, {asker, "WEB", webAddr}, {asker, "www", webAddr}, {asker, "shop", webAddr}, {asker, web[:12], webAddr},
		{asker, "frontend", webAddr}, {asker, "web.one", webAddr}, {asker, "asker", l.v4(asker, "one")},
		{asker, "both", l.v4(both, "one")}, {other, "both", l.v4(both, "two")},
		{asker, "other", ""}, {other, "web", ""}, {both, "other", l.v4(other, "two")}, {both, "web", webAddr},
		{both, "www", l.v4(other, "two")}, // the first network that knows it
		{closed, "closed1", l.v4(closed, "closed")}, {closed, "outside.example", ""},
	} {
		if got := l.resolve(tc.from, tc.name); got != tc.want {
			t.Errorf("%s asks for %s: %q, want %q", l.row(tc.from).Name, tc.name, got, tc.want)
		}
	}
	if got := l.exec(first, "ping -c1 -W1 second 2>&1; true"); !strings.Contains(got, "bad address") {
		t.Errorf("a name on the default bridge: %s", got)
	}
	if got := l.exec(asker, "nslookup "+webAddr+" 2>&1"); !strings.Contains(got, "name = web.one") {
		t.Errorf("reverse: %s", got)
	}
	if got := l.exec(asker, "nslookup -type=aaaa web 2>&1"); !strings.Contains(got, strings.Split(l.row(web).Endpoints[0].Addresses[1], "/")[0]) {
		t.Errorf("IPv6: %s", got)
	}

	t.Run("outside names", func(t *testing.T) {
		r := on("mine", at("one"))
		r.Spec.Dns = &api.DNSConfig{Nameservers: []string{up}, Search: []string{"example"}, Options: []string{"ndots:2"}}
		mine := l.run(r)
		for name, want := range map[string]string{"outside.example": "192.0.2.7", "outside": "192.0.2.7", "web": webAddr} {
			if got := l.exec(mine, "ping -4 -c1 -W1 "+name+" 2>&1; true"); !strings.Contains(got, "("+want+")") {
				t.Errorf("with a server of its own, %s: %q, want %q", name, got, want)
			}
		}
		if got := l.exec(mine, "cat /etc/resolv.conf"); got != "nameserver 127.0.0.11\nsearch example\noptions ndots:2\n" {
			t.Errorf("resolv.conf: %q", got)
		}
	})
	t.Run("a container may be a DNS server", func(t *testing.T) {
		serveDNS(t, l.row(asker).Pid)
		if got := l.resolve(asker, "web"); got != webAddr {
			t.Errorf("with port 53 taken: %q", got)
		}
	})
	t.Run("never stale", func(t *testing.T) {
		l.reopen()
		if got := l.resolve(asker, "web"); got != webAddr {
			t.Errorf("after a restart of the daemon: %q", got)
		}
		if err := l.Remove(l.ctx(), web, true, true); err != nil {
			t.Fatal(err)
		}
		if got := l.resolve(asker, "web"); got != "" {
			t.Errorf("after its removal: %q", got)
		}
		l.run(on("web", at("one")))
		if got, want := l.resolve(asker, "web"), l.v4("web", "one"); got != want {
			t.Errorf("made anew: %q, want %q", got, want)
		}
	})
}

// A host whose only resolver is on its loopback lends it to containers, the default bridge's as well.
func TestResolverOnLoopback(t *testing.T) {
	setResolver(t, "127.0.0.153")
	l := openLab(t)
	upstreamDNS(t, "127.0.0.153", "outside.example.", "192.0.2.7")
	c := l.run(on("asker", at(NetworkBridge)))
	l.run(on("other", at(NetworkBridge)))
	if got := l.resolve(c, "outside.example"); got != "192.0.2.7" {
		t.Errorf("got %q (%s)", got, l.exec(c, "cat /etc/resolv.conf"))
	}
	if got := l.resolve(c, "other"); got != "" {
		t.Errorf("a name on the default bridge: %q", got)
	}
}

// serveDNS takes port 53 in a process's network namespace until the test ends.
func serveDNS(t *testing.T, pid int32) {
	t.Helper()
	err := thread.Spend(func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		tcp, err := net.Listen("tcp", ":53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { tcp.Close() })
		udp, err := net.ListenPacket("udp", ":53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { udp.Close() })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// setResolver says whom the host asks, as engines see it that are opened after this.
func setResolver(t *testing.T, addr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+addr+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := hostResolvConf
	t.Cleanup(func() { hostResolvConf = before })
	hostResolvConf = []string{file}
}

// upstreamDNS is a resolver on this host where containers reach it, until the test ends.
func upstreamDNS(t *testing.T, here, name, addr string) string {
	t.Helper()
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == name && q.Question[0].Qtype == dns.TypeA {
			rr, _ := dns.NewRR(fmt.Sprintf("%s A %s", name, addr))
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})
	own, _ := netlink.ParseAddr(here + "/32")
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.AddrAdd(lo, own)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := nameserver.Listen("", netip.MustParseAddrPort(here+":53"), answer, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); netlink.AddrDel(lo, own) })
	return here
}
