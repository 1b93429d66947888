//go:build linux

package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// two makes two hosts with one network and a container on each.
func two(t testing.TB, six bool) (*lab, *labContainer, *labContainer) {
	l := newLab(t, 2, six)
	for _, h := range l.hosts {
		l.start(h)
	}
	l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
	l.model.Services = []Service{{ID: "web", Name: "web", VIPs: map[string][]netip.Addr{
		"app": {netip.MustParseAddr("10.10.0.2"), netip.MustParseAddr("fd10::2")}},
		Ports: []Port{{Protocol: "tcp", Target: 80, Published: 8080}, {Protocol: "udp", Target: 80, Published: 8080}}}}
	a := l.container(l.hosts[0], "a", "web", 11, "app")
	b := l.container(l.hosts[1], "b", "web", 12, "app")
	a.serve(80)
	b.serve(80)
	l.settle()
	return l, a, b
}

func TestReachOtherHost(t *testing.T) {
	for name, six := range map[string]bool{"underlay4": false, "underlay6": true} {
		t.Run(name, func(t *testing.T) {
			l, a, b := two(t, six)
			for i := range 2 {
				for _, network := range []string{"tcp", "udp"} {
					from, to := a.a.Networks[0].Addrs[i], b.a.Networks[0].Addrs[i]
					l.wants(a.place, network, at(to, 80), "b "+from.String())
					l.wants(b.place, network, at(from, 80), "a "+to.String())
				}
			}
		})
	}
}

func TestFullSizePackets(t *testing.T) {
	for name, six := range map[string]bool{"underlay4": false, "underlay6": true} {
		t.Run(name, func(t *testing.T) {
			l, a, b := two(t, six)
			for _, to := range b.a.Networks[0].Addrs {
				l.wants(a.place, "udp", at(to, 80), "b "+a.a.Networks[0].Addrs[b2i(to.Is6())].String())
				overhead := 28
				if to.Is6() {
					overhead = 48
				}
				mtu := 1450
				if six {
					mtu = 1430
				}
				echo(t, a.place, "udp", at(to, 80), mtu-overhead)
				echo(t, a.place, "udp", at(to, 80), 5000) // in fragments
				echo(t, a.place, "tcp", at(to, 80), 300_000)
			}
		})
	}
}

// Checksums right whoever computes them: the container's, the tunnel's and the underlay's links all may leave it to the
// next.
func TestChecksums(t *testing.T) {
	for _, offload := range []Offload{OffloadOn, OffloadOff} {
		t.Run(string(offload), func(t *testing.T) {
			l := newLab(t, 2, false)
			for _, h := range l.hosts {
				h.cfg.Offload = offload
				must(t, h.ns.Do(func() error { return checksumOff("eth0") })) // as a driver that computes none
				l.start(h)
			}
			l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
			a, b := l.container(l.hosts[0], "a", "", 11, "app"), l.container(l.hosts[1], "b", "", 12, "app")
			b.serve(80)
			l.settle()
			for _, to := range b.a.Networks[0].Addrs {
				l.wants(a.place, "tcp", at(to, 80), "b "+a.a.Networks[0].Addrs[b2i(to.Is6())].String())
				echo(t, a.place, "tcp", at(to, 80), 300_000)
				echo(t, a.place, "udp", at(to, 80), 5000)
			}
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// echo sends size bytes and expects them back.
func echo(t *testing.T, from *place, network, addr string, size int) {
	t.Helper()
	must(t, echoes(from, network, addr, size))
}

func echoes(from *place, network, addr string, size int) error {
	c, err := from.dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
	go c.Write(sent)
	got, n := make([]byte, size), 0
	if network == "udp" {
		n, err = c.Read(got)
	} else {
		n, err = io.ReadFull(c, got)
	}
	if err != nil || !bytes.Equal(got[:n], sent) {
		return fmt.Errorf("echo of %d bytes from %s: %d came back: %w", size, addr, n, err)
	}
	return nil
}

var vips = []string{"10.10.0.2", "fd10::2"}

func TestVirtualIPBalances(t *testing.T) {
	l, a, b := two(t, false)
	outsider := l.container(l.hosts[0], "c", "", 13, "app")
	l.settle()
	for _, from := range []*labContainer{outsider, a, b} { // a and b reach themselves, too
		for _, vip := range vips {
			for _, network := range []string{"tcp", "udp"} {
				got, err := from.answers(network, net.JoinHostPort(vip, "80"), 40)
				if err != nil || got["a"] < 5 || got["b"] < 5 {
					t.Errorf("%s asks %s %s: got %v, %v, want both often", from.name, network, vip, got, err)
				}
			}
		}
	}
}

// A flow that has no end of its own must not stay with a backend that is none any more; a connection may, while the
// backend drains.
func TestBackendRemoval(t *testing.T) {
	l, _, _ := two(t, false)
	c := l.container(l.hosts[0], "c", "", 13, "app")
	l.settle()
	for _, vip := range vips {
		setReady(l, "b", true)
		l.settle()
		udp := flowTo(t, c.place, "udp", vip, "b")
		tcp := flowTo(t, c.place, "tcp", vip, "b")
		setReady(l, "b", false)
		l.eventually("datagrams move to a", func() error { return answeredWithin(short, udp, "a") })
		must(t, answeredBy(tcp, "b"))
		got, err := c.answers("tcp", net.JoinHostPort(vip, "80"), 20)
		if err != nil || got["b"] != 0 {
			t.Errorf("new connections after removal of b: %v, %v", got, err)
		}
		keep := l.cuts(tcp, "b")
		l.model.Endpoints = keep
	}
}

// cuts takes a task's endpoints away, waits until a connection to it ends, and returns the endpoints as they were.
func (l *lab) cuts(c net.Conn, task string) []Endpoint {
	l.t.Helper()
	before := l.model.Endpoints
	l.model.Endpoints = slices.DeleteFunc(slices.Clone(before), func(e Endpoint) bool { return e.TaskID == task })
	l.tell()
	l.eventually("the connection to "+task+" is cut", func() error {
		if err := answeredWithin(short, c, task); err == nil {
			return errors.New("it still answers")
		}
		return nil
	})
	return before
}

func setReady(l *lab, task string, ready bool) {
	l.model.Endpoints = slices.Clone(l.model.Endpoints)
	for i := range l.model.Endpoints {
		if l.model.Endpoints[i].TaskID == task {
			l.model.Endpoints[i].Ready = ready
		}
	}
	l.tell()
}

// flowTo opens flows until one reaches the wanted backend.
func flowTo(t *testing.T, from *place, network, vip, backend string) net.Conn {
	t.Helper()
	for range 50 {
		c, err := from.dial(network, net.JoinHostPort(vip, "80"))
		must(t, err)
		if answeredBy(c, backend) == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		c.Close()
	}
	t.Fatalf("no %s flow to %s reached %s", network, vip, backend)
	return nil
}

func answeredBy(c net.Conn, backend string) error { return answeredWithin(patient, c, backend) }

func answeredWithin(patience time.Duration, c net.Conn, backend string) error {
	got, err := who(c, patience)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(got, backend+" ") {
		return fmt.Errorf("%s answers, not %s", got, backend)
	}
	return nil
}

func TestSuspectedNodeLeaves(t *testing.T) {
	l, _, _ := two(t, false)
	c := l.container(l.hosts[0], "c", "", 13, "app")
	l.settle()
	h := l.hosts[0]
	h.o.SetDown(map[string]bool{"node2": true})
	l.settle()
	got, err := c.answers("tcp", "10.10.0.2:80", 30)
	if err != nil || got["b"] != 0 {
		t.Errorf("node2 suspected: answers from %v, %v", got, err)
	}
	setReady(l, "a", false) // nobody else is left: the suspected stay
	l.settle()
	got, err = c.answers("tcp", "10.10.0.2:80", 10)
	if err != nil || got["b"] != 10 {
		t.Errorf("only node2 has backends: answers from %v, %v", got, err)
	}
	setReady(l, "b", false)
	l.settle()
	for _, addr := range []string{"10.10.0.2:80", "[fd10::2]:80", "10.10.0.200:80", "[fd10::200]:80"} { // no backend, no container
		if _, err := c.ask("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want connection refused", addr, err)
		}
	}
}

func TestNetworksAreApart(t *testing.T) {
	l, a, b := two(t, false)
	l.network("other", 5002, "10.10.0.0/24", "fd10::/64") // the same subnets
	x := l.container(l.hosts[0], "x", "", 11, "other")
	y := l.container(l.hosts[1], "y", "", 12, "other")
	x.serve(80)
	y.serve(80)
	l.settle()
	for i := range 2 {
		one := x.a.Networks[0].Addrs[i]
		l.wants(x.place, "tcp", at(y.a.Networks[0].Addrs[i], 80), "y "+one.String())
		l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[i], 80), "b "+one.String())
	}
	// Not over the gateway network either.
	for _, to := range []*labContainer{a, y} {
		for _, g := range to.a.Gateway {
			if got, err := x.try("tcp", at(g.Addr(), 80)); err == nil {
				t.Errorf("x reached %s at its gateway address %s: %s", to.name, g, got)
			}
		}
	}
}
