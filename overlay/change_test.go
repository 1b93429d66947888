//go:build linux

package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// A node that leaves takes all with it that the others knew of it.
func TestPeerLeaves(t *testing.T) {
	needNFT(t)
	l, a, b := two(t, false)
	h := l.hosts[0]
	l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
	for _, trace := range []string{"192.168.77.2 ", "02:53:4e:00:00:02", "10.200.2.0/24", "fd20:0:0:2::/64", "0x53480002"} {
		if !strings.Contains(h.picture(t)+l.sandboxPlace(h, "app").picture(t), trace) {
			t.Errorf("nothing shows %s while the node is there", trace)
		}
	}
	l.model.Peers = l.model.Peers[:1]
	l.model.Endpoints = slices.DeleteFunc(slices.Clone(l.model.Endpoints), func(e Endpoint) bool { return e.NodeID == "node2" })
	l.tellOne(h)
	l.eventually("node2 is forgotten", func() error {
		text := h.picture(t) + l.sandboxPlace(h, "app").picture(t)
		for _, trace := range []string{"192.168.77.2 ", "02:53:4e:00:00:02", "10.200.2.", "fd20:0:0:2:", "10.10.0.12", "fd10::c", "53480002"} {
			if i := strings.Index(text, trace); i >= 0 {
				return fmt.Errorf("%s is left: %s", trace, text[max(0, i-60):min(len(text), i+60)])
			}
		}
		return nil
	})
	l.wants(l.client, "tcp", "192.168.77.1:8080", "a 192.168.77.100")
}

// A node that comes back with another data path address is found there.
func TestPeerMoves(t *testing.T) {
	l, a, b := two(t, false)
	l.stop(l.hosts[1])
	must(t, l.hosts[1].o.Cleanup(context.Background()))
	l.hosts[1].addr("eth0", "192.168.77.22/24")
	l.hosts[1].cfg.VTEP = netip.MustParseAddr("192.168.77.22")
	l.model.Peers = slices.Clone(l.model.Peers)
	l.model.Peers[1].VTEP = l.hosts[1].cfg.VTEP
	l.tellOne(l.hosts[0])
	l.anew(l.hosts[1])
	l.restart(l.hosts[1])
	l.attach(b)
	l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
	l.wants(b.place, "udp", at(a.a.Networks[0].Addrs[1], 80), "a fd10::c")
	l.settle()
}

// A container that lingers while its addresses were given to another task is not reached any more: the rows decide.
func TestAddressIsGivenToAnother(t *testing.T) {
	for name, host := range map[string]int{"on this node": 0, "on another node": 1} {
		t.Run(name, func(t *testing.T) {
			l, a, _ := two(t, false)
			asker := l.container(l.hosts[0], "c", "", 13, "app")
			l.wants(asker.place, "tcp", "10.10.0.11:80", "a 10.10.0.13")
			l.model.Endpoints = slices.DeleteFunc(slices.Clone(l.model.Endpoints), func(e Endpoint) bool { return e.TaskID == "a" })
			heir := l.container(l.hosts[host], "heir", "", 11, "app") // a's addresses; a is still attached
			heir.serve(80)
			for _, addr := range a.a.Networks[0].Addrs {
				l.wants(asker.place, "tcp", at(addr, 80), "heir "+asker.a.Networks[0].Addrs[b2i(addr.Is6())].String())
			}
			l.settle()
			must(t, l.hosts[0].o.Detach(context.Background(), "a"))
			l.settle()
			l.wants(asker.place, "tcp", "10.10.0.11:80", "heir 10.10.0.13")
		})
	}
}

// The MTU follows the underlay's, in tunnels and in containers that run.
func TestUnderlayChangesSize(t *testing.T) {
	l, a, b := two(t, false)
	for _, p := range []*place{l.hosts[0].place, l.hosts[1].place} {
		link, err := p.h.LinkByName("eth0")
		must(t, err)
		must(t, p.h.LinkSetMTU(link, 1400))
	}
	l.settle()
	l.eventually("the container's interfaces follow", func() error {
		for _, name := range []string{"eth0", "eth1"} {
			link, err := a.h.LinkByName(name)
			must(t, err)
			if got := link.Attrs().MTU; got != 1350 {
				return fmt.Errorf("%s has MTU %d, want 1350", name, got)
			}
		}
		return nil
	})
	for _, to := range b.a.Networks[0].Addrs {
		echo(t, a.place, "tcp", at(to, 80), 300_000)
		echo(t, a.place, "udp", at(to, 80), 1350-48)
	}
}

// A container on an internal network alone speaks to its network and to nobody else.
func TestInternalNetwork(t *testing.T) {
	l, _, _ := two(t, false)
	l.network("in", 5003, "10.20.0.0/24", "fd20:20::/64")
	l.model.Networks[1].Internal = true
	l.client.serve(7000)
	var inner []*labContainer
	for i, h := range l.hosts {
		c := &labContainer{place: l.place(fmt.Sprintf("in%d", i)), host: h}
		addrs := []netip.Addr{nth(netip.MustParsePrefix("10.20.0.0/24"), 11+i), nth(netip.MustParsePrefix("fd20:20::/64"), 11+i)}
		c.a = Attachment{ID: c.name, TaskID: c.name, NetNS: c.path, Networks: []AttachedNetwork{{"in", addrs}}}
		l.model.Endpoints = append(l.model.Endpoints, Endpoint{NetworkID: "in", TaskID: c.name, NodeID: h.node, Addrs: addrs, Name: c.name, Ready: true})
		l.tell()
		l.attach(c)
		c.serve(80)
		inner = append(inner, c)
	}
	l.settle()
	l.wants(inner[0].place, "tcp", "10.20.0.12:80", "in1 10.20.0.11")
	l.wants(inner[0].place, "tcp", "[fd20:20::c]:80", "in1 fd20:20::b")
	for _, outside := range []string{"192.168.77.100:7000", "[fd77::100]:7000", "192.168.77.1:8080", "10.10.0.2:80", "10.200.1.1:8080"} {
		if got, err := inner[0].try("tcp", outside); err == nil {
			t.Errorf("from an internal network %s answers: %s", outside, got)
		}
	}
}

func TestAttachRefuses(t *testing.T) {
	l, a, _ := two(t, false)
	for name, change := range map[string]func(*Attachment){
		"no ID":                 func(x *Attachment) { x.ID = "" },
		"no namespace":          func(x *Attachment) { x.NetNS = l.dir + "/nothing" },
		"ports without gateway": func(x *Attachment) { x.Gateway, x.HostPorts = nil, []HostPort{{"tcp", 1, 1}} },
		"twice on one network":  func(x *Attachment) { x.Networks = append(x.Networks, x.Networks...) },
		"a network of no one":   func(x *Attachment) { x.Networks = []AttachedNetwork{{NetworkID: "nothing"}} },
	} {
		x := a.a
		x.ID, x.Networks = "x", slices.Clone(x.Networks)
		change(&x)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.hosts[0].o.Attach(ctx, x); err == nil {
			t.Errorf("%s: attached", name)
		}
	}
	if lines, err := l.hosts[0].o.Check(t.Context()); err != nil || len(lines) > 0 {
		t.Errorf("left behind: %v, %v", lines, errors.Join(err))
	}
}

// Networks of one family, on nodes whose gateway network has one family.
func TestOneFamily(t *testing.T) {
	for name, tc := range map[string]struct {
		v4, v6, vip, entry string
		gateway            int
	}{
		"IPv4": {v4: "10.10.0.0/24", vip: "10.10.0.2", entry: "192.168.77.1", gateway: 0},
		"IPv6": {v6: "fd10::/64", vip: "fd10::2", entry: "fd77::1", gateway: 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2, false)
			for i := range l.model.Peers {
				l.model.Peers[i].Gateways = l.model.Peers[i].Gateways[tc.gateway : tc.gateway+1]
			}
			for _, h := range l.hosts {
				l.start(h)
			}
			l.network("app", 5001, tc.v4, tc.v6)
			l.model.Services = []Service{{ID: "web", Name: "web", VIPs: map[string][]netip.Addr{"app": {netip.MustParseAddr(tc.vip)}},
				Ports: []Port{{Protocol: "tcp", Target: 80, Published: 8080}}}}
			a := l.container(l.hosts[0], "a", "", 11, "app")
			b := l.container(l.hosts[1], "b", "web", 12, "app")
			b.serve(80)
			l.settle()
			own := a.a.Networks[0].Addrs[0].String()
			l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b "+own)
			l.wants(a.place, "udp", at(netip.MustParseAddr(tc.vip), 80), "b "+own)
			l.wants(l.client, "tcp", at(netip.MustParseAddr(tc.entry), 8080), "b "+clientOf(tc.entry))
			l.client.serve(7000)
			l.wants(a.place, "tcp", at(netip.MustParseAddr(clientOf(tc.entry)), 7000), "client "+tc.entry)
		})
	}
}
