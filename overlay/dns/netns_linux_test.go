package dns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/overlay/netns"
)

// wired makes a namespace for a container and one for its network, joined by a pair of links. Neither has a way out.
func wired(t *testing.T, dir string, addrs map[string][]string) map[string]*netns.NS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	spaces, handles := map[string]*netns.NS{}, map[string]*netlink.Handle{}
	for name := range addrs {
		path := filepath.Join(dir, name)
		if err := netns.Create(path); err != nil {
			t.Fatal(err)
		}
		ns, err := netns.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := netlink.NewHandleAt(vns.NsHandle(ns.FD()), unix.NETLINK_ROUTE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close(); ns.Close(); netns.Remove(path) })
		spaces[name], handles[name] = ns, h
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(spaces["box"].FD())}
	if err := handles["container"].LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	for name, h := range handles {
		if lo, err := h.LinkByName("lo"); err != nil || h.LinkSetUp(lo) != nil {
			t.Fatal("no loopback", err)
		}
		link, err := h.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs[name] {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				t.Fatal(err)
			}
			if addr.IP.To4() == nil {
				addr.Flags = unix.IFA_F_NODAD
			}
			if err := h.AddrAdd(link, addr); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
	return spaces
}

var plan = map[string][]string{"container": {"10.96.0.11/16", "fd00::11/64"}, "box": {"10.96.0.1/16", "fd00::1/64"}}

// A container asks its network's gateway, over both families and both protocols, for names of ours and, although neither
// it nor its network has a way out, for names that only a resolver on the host's loopback knows. The namespace is made
// anew under the server, and found again.
func TestContainerAsks(t *testing.T) {
	up := upstream(t, "example.com.", "192.0.2.1")
	s := running(t, up)
	dir := t.TempDir()
	for _, when := range []string{"first", "after the namespace was made anew"} {
		spaces := wired(t, dir, plan)
		s.Listen([]Listener{{NetworkID: "app", NetNS: filepath.Join(dir, "box"), Addrs: []netip.Addr{ip("10.96.0.1"), ip("fd00::1")}}})
		for _, server := range []string{"10.96.0.1:53", "[fd00::1]:53"} {
			for _, network := range []string{"udp", "tcp"} {
				for name, want := range map[string]string{"web.": "10.96.0.2", "tasks.web.": "10.96.0.11", "web.t3.": "10.96.0.13", "db.": "10.96.4.12", "example.com.": "192.0.2.1"} {
					got := asked(t, spaces["container"], network, server, name, dns.TypeA)
					if len(got.Answer) == 0 || name != "tasks.web." && address(got.Answer[0]) != want {
						t.Errorf("%s: %s %s %s: %v, want %s", when, server, network, name, got.Answer, want)
					}
				}
				if got := asked(t, spaces["container"], network, server, "web.", dns.TypeAAAA); len(got.Answer) != 1 || address(got.Answer[0]) != "fd00::2" {
					t.Errorf("%s: AAAA of web: %v", when, got.Answer)
				}
			}
		}
		for name := range plan {
			if err := netns.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// On the gateway bridge there are outside names and none of ours: whose they would be is not known there.
func TestGatewayKnowsOutsideOnly(t *testing.T) {
	s := running(t, upstream(t, "example.com.", "192.0.2.1"))
	dir := t.TempDir()
	spaces := wired(t, dir, plan)
	s.Listen([]Listener{{NetNS: filepath.Join(dir, "box"), Addrs: []netip.Addr{ip("10.96.0.1")}}})
	if got := asked(t, spaces["container"], "udp", "10.96.0.1:53", "example.com.", dns.TypeA); len(got.Answer) != 1 {
		t.Errorf("outside: %v", got)
	}
	if got := asked(t, spaces["container"], "udp", "10.96.0.1:53", "web.", dns.TypeA); len(got.Answer) != 0 {
		t.Errorf("a name of ours: %v", got.Answer)
	}
}

// A container's own resolvers are asked instead of the host's, from where the container is. Its gateway is among them, since
// that is whom it asks first.
func TestOwnResolvers(t *testing.T) {
	s := running(t, upstream(t, "corp.", "192.0.2.1"))
	dir := t.TempDir()
	spaces := wired(t, dir, plan)
	var pc net.PacketConn
	err := spaces["container"].Do(func() (err error) { pc, err = net.ListenPacket("udp", "10.96.0.11:53"); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go (&dns.Server{PacketConn: pc, Handler: knows("corp.", "192.0.2.2")}).ActivateAndServe()
	a := overlay.Attachment{ID: "c", NetNS: filepath.Join(dir, "container"), Networks: []overlay.AttachedNetwork{{NetworkID: "app", Addrs: []netip.Addr{ip("10.96.0.11")}}},
		Resolvers: []netip.Addr{ip("10.96.0.1"), ip("10.96.0.11")}}
	s.Attach(a)
	s.Listen([]Listener{{NetworkID: "app", NetNS: filepath.Join(dir, "box"), Addrs: []netip.Addr{ip("10.96.0.1"), ip("fd00::1")}}})
	for _, tc := range []struct{ server, name, want string }{
		{"10.96.0.1:53", "corp.", "192.0.2.2"}, {"10.96.0.1:53", "web.", "10.96.0.2"},
		{"[fd00::1]:53", "corp.", "192.0.2.1"}, // an address that is not the container's
	} {
		if got := asked(t, spaces["container"], "udp", tc.server, tc.name, dns.TypeA); len(got.Answer) != 1 || address(got.Answer[0]) != tc.want {
			t.Errorf("%s says of %s: %v, want %s", tc.server, tc.name, got.Answer, tc.want)
		}
	}
	s.Detach("c")
	if got := asked(t, spaces["container"], "udp", "10.96.0.1:53", "corp.", dns.TypeA); len(got.Answer) != 1 || address(got.Answer[0]) != "192.0.2.1" {
		t.Errorf("after its end: %v", got.Answer)
	}
}

// asked asks from inside a namespace until the listener is there.
func asked(t *testing.T, ns *netns.NS, network, server, name string, qtype uint16) (m *dns.Msg) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := ns.Do(func() (err error) {
			m, _, err = (&dns.Client{Net: network, Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion(name, qtype), server)
			return err
		})
		if err == nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatal(fmt.Errorf("%s asks %s for %s: %w", network, server, name, err))
		}
	}
}
