//go:build linux

package overlay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A connection of the node itself may begin at any port, that of a service without backends too.
func TestOwnConnectionFromClosedPort(t *testing.T) {
	l, _, _ := two(t, false)
	setReady(l, "a", false)
	setReady(l, "b", false)
	l.client.serve(7000)
	l.settle()
	for to, own := range map[string]string{"192.168.77.100:7000": "192.168.77.1", "[fd77::100]:7000": "fd77::1"} {
		for network, from := range map[string]net.Addr{"tcp": &net.TCPAddr{IP: net.ParseIP(own), Port: 8080}, "udp": &net.UDPAddr{IP: net.ParseIP(own), Port: 8080}} {
			var c net.Conn
			err := l.hosts[0].ns.Do(func() (err error) {
				c, err = (&net.Dialer{LocalAddr: from, Timeout: patient}).Dial(network, to)
				return err
			})
			if err == nil {
				err = answeredBy(c, "client")
				c.Close()
			}
			if err != nil {
				t.Errorf("host1 asks %s %s from port 8080: %v", network, to, err)
			}
		}
	}
}

// Links of others may have names that begin like ours.
func TestForeignLinksStay(t *testing.T) {
	l, _, _ := two(t, false)
	h := l.hosts[0]
	must(t, h.h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "shgw1"}, PeerName: "shvpn1"}))
	names := []string{"shgw0", "shvpn0", "shgaaaaaaaaaa", "shgw1", "shvpn1"}
	for _, name := range names[:3] {
		must(t, h.h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	}
	l.settle()
	l.stop(h)
	must(t, h.o.Cleanup(t.Context()))
	for _, name := range names {
		if _, err := h.h.LinkByName(name); err != nil {
			t.Errorf("link %s of somebody else: %v", name, err)
		}
	}
}

// A network gets the VXLAN number of one that was removed: its first container must not wait for the old one to be swept.
func TestVXLANNumberIsReused(t *testing.T) {
	l, a, b := two(t, false)
	for _, c := range []*labContainer{a, b} {
		must(t, c.host.o.Detach(t.Context(), c.a.ID))
		c.host.ids = nil
	}
	vni := l.model.Networks[0].VNI
	l.model.Networks, l.model.Endpoints, l.model.Services = nil, nil, nil
	l.network("app2", vni, "10.10.0.0/24", "fd10::/64")
	l.stop(l.hosts[0]) // nobody sweeps
	l.container(l.hosts[0], "d", "", 13, "app2")
	l.restart(l.hosts[0])
	l.settle()
}

// A daemon that starts again does not know yet which containers publish ports of this node: their connections go on.
func TestRestartKeepsConnectionsToHostPorts(t *testing.T) {
	l, a, _ := two(t, false)
	h := l.hosts[0]
	a.a.HostPorts = []HostPort{{Protocol: "tcp", Host: 9090, Target: 80}, {Protocol: "udp", Host: 9090, Target: 80}}
	l.attach(a)
	l.model.Endpoints = slices.DeleteFunc(slices.Clone(l.model.Endpoints), func(e Endpoint) bool { return e.NetworkID == "" }) // of published services alone
	l.tell()
	l.settle()
	for network, addr := range map[string]string{"tcp": "192.168.77.1:9090", "udp": "[fd77::1]:9090"} {
		c, err := l.client.dial(network, addr)
		must(t, err)
		defer c.Close()
		must(t, answeredBy(c, "a"))
	}
	flows := func() int {
		return len(h.flowsTo(t, 9090, a.a.Gateway[0].Addr().String(), a.a.Gateway[1].Addr().String()))
	}
	before := flows()
	l.stop(h)
	h.o.Close()
	var err error
	h.o, err = New(h.cfg)
	must(t, err)
	l.tellOne(h)
	must(t, h.o.reconcile(true, true))
	if after := flows(); after != before || before != 2 {
		t.Errorf("%d connections before, %d after", before, after)
	}
	must(t, h.o.Attach(t.Context(), a.a))
	h.o.Adopt(h.ids)
	must(t, h.o.reconcile(true, true))
	if after := flows(); after != before {
		t.Errorf("%d connections before, %d after all is known", before, after)
	}
}

// segment is a TCP packet that belongs to no connection: an acknowledgement out of nowhere.
func segment(src, dst netip.AddrPort) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b[0:], src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], 0x7fff0000)
	binary.BigEndian.PutUint32(b[8:], 0x7fff0000)
	b[12], b[13] = 5<<4, 0x10
	binary.BigEndian.PutUint16(b[14:], 1000)
	var sum uint32
	pseudo := slices.Concat(src.Addr().AsSlice(), dst.Addr().AsSlice(), []byte{0, unix.IPPROTO_TCP, 0, 20}, b)
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[16:], ^uint16(sum))
	return b
}

func (p *place) raw() *net.IPConn {
	p.t.Helper()
	var c *net.IPConn
	must(p.t, p.ns.Do(func() (err error) { c, err = net.ListenIP("ip4:tcp", &net.IPAddr{}); return err }))
	p.t.Cleanup(func() { c.Close() })
	return c
}

// What connection tracking takes for no part of its connection is not translated back. A client that got it would answer the
// backend, of which it knows nothing, with a reset, and end a connection that is well.
func TestStrayPacketsDoNotReachClients(t *testing.T) {
	l, _, b := two(t, false)
	outsider := l.container(l.hosts[0], "c", "", 13, "app")
	setReady(l, "a", false)
	l.settle()
	for _, tc := range []struct {
		client          *place
		asks            string
		backend, leaves netip.Addr
	}{
		{outsider.place, "10.10.0.2:80", b.a.Networks[0].Addrs[0], netip.MustParseAddr("10.10.0.13")},
		{l.client, "192.168.77.1:8080", b.a.Gateway[0].Addr(), netip.MustParseAddr("192.168.77.100")},
		{l.hosts[1].place, "192.168.77.2:8080", b.a.Gateway[0].Addr(), netip.MustParseAddr("192.168.77.2")},
	} {
		heard, stray := tc.client.raw(), b.raw()
		c, err := tc.client.dial("tcp", tc.asks)
		must(t, err)
		defer c.Close()
		must(t, answeredBy(c, "b"))
		to := netip.AddrPortFrom(tc.leaves, netip.MustParseAddrPort(c.LocalAddr().String()).Port())
		_, err = stray.WriteToIP(segment(netip.AddrPortFrom(tc.backend, 80), to), &net.IPAddr{IP: tc.leaves.AsSlice()})
		must(t, err)
		must(t, answeredBy(c, "b")) // the answer comes after what was sent before it
		asked := netip.MustParseAddrPort(tc.asks).Addr()
		heard.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		buf := make([]byte, 2000)
		for {
			_, from, err := heard.ReadFromIP(buf)
			if err != nil {
				break
			}
			if a, _ := netip.AddrFromSlice(from.IP); a.Unmap() != asked {
				t.Errorf("%s talks to %s and hears from %s", tc.client.name, tc.asks, a)
			}
		}
	}
}

// A daemon that restarts, or a host that is too busy for gossip, still forwards: connections to its containers stay. They are cut
// when it is silent for long.
func TestConnectionsOutliveSuspicion(t *testing.T) {
	l, _, _ := two(t, false)
	h := l.hosts[0]
	c := l.container(h, "c", "", 13, "app")
	l.settle()
	tcp := flowTo(t, c.place, "tcp", "10.10.0.2", "b")
	udp := flowTo(t, c.place, "udp", "10.10.0.2", "b")
	h.o.SetDown(map[string]bool{"node2": true})
	l.settle()
	must(t, answeredBy(tcp, "b"))
	l.eventually("datagrams move to a", func() error { return answeredWithin(short, udp, "a") })
	if got, err := c.answers("tcp", "10.10.0.2:80", 20); err != nil || got["b"] != 0 {
		t.Errorf("node2 suspected: answers from %v, %v", got, err)
	}
	h.o.SetDown(nil)
	l.settle()
	must(t, answeredBy(tcp, "b"))
	l.stop(h)
	h.o.cfg.Patience = time.Millisecond
	l.model.Peers = slices.Clone(l.model.Peers)
	l.model.Peers[1].Down = true // the managers' word counts as much
	l.tellOne(h)
	l.eventually("the connection is cut", func() error {
		must(t, h.o.reconcile(true, false))
		if answeredWithin(short, tcp, "b") == nil {
			return errors.New("it still answers")
		}
		return nil
	})
}

// In the middle of an update that changes the target of a published port each backend is reached where it listens.
func TestTargetPortIsTheBackends(t *testing.T) {
	l, a, b := two(t, false)
	c := l.container(l.hosts[1], "c", "web", 14, "app")
	a.serve(81)
	c.serve(81)
	l.model.Services[0].Ports = []Port{{Protocol: "tcp", Target: 81, Published: 8080}, {Protocol: "udp", Target: 81, Published: 8080}}
	for i := range l.model.Endpoints {
		if e := &l.model.Endpoints[i]; e.TaskID == "b" && e.NetworkID == "" {
			e.Ports = []Port{{Protocol: "tcp", Target: 80, Published: 8080}, {Protocol: "udp", Target: 80, Published: 8080}}
		}
	}
	setReady(l, "a", false)
	l.settle()
	for _, host := range []string{"192.168.77.1", "fd77::2"} {
		for _, network := range []string{"tcp", "udp"} {
			got, err := l.client.answers(network, net.JoinHostPort(host, "8080"), 40)
			if err != nil || got["b"] < 5 || got["c"] < 5 {
				t.Errorf("%s %s: %v, %v, want %s and c both often", network, host, got, err, b.name)
			}
		}
	}
}

// A container that is allowed to may spoil its own interfaces. That is no reason to start no other.
func TestSpoiltContainerIsAlone(t *testing.T) {
	l, a, b := two(t, false)
	l.stop(l.hosts[0])                              // it would be faster
	for _, name := range []string{"eth0", "eth1"} { // to its network, and to the gateway network
		link, err := a.h.LinkByName(name)
		must(t, err)
		must(t, a.h.LinkDel(link))
		must(t, a.h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	}
	if err := l.hosts[0].o.reconcile(true, true); err == nil {
		t.Error("nobody says that a is not as it should be")
	}
	c := l.container(l.hosts[0], "c", "", 13, "app")
	if got, err := c.ask("tcp", at(b.a.Networks[0].Addrs[0], 80)); err != nil || got != "b 10.10.0.13" {
		t.Errorf("c asks b: %q, %v", got, err)
	}
	c.serve(90)
	c.a.HostPorts = []HostPort{{Protocol: "tcp", Host: 9090, Target: 90}}
	l.attach(c)
	l.wants(l.client, "tcp", "192.168.77.1:9090", "c 192.168.77.100")
}
