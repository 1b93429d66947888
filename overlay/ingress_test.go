//go:build linux

package overlay

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// clientOf is the address by which the client speaks to addr.
func clientOf(addr string) string {
	if netip.MustParseAddr(addr).Is6() {
		return "fd77::100"
	}
	return "192.168.77.100"
}

func TestIngressKeepsClient(t *testing.T) {
	l, _, b := two(t, false)
	third := &labHost{place: l.place("host3"), node: "node3"}
	l.plug(third.place, 3)
	third.cfg = l.hosts[0].cfg
	third.cfg.NodeID, third.cfg.RunDir, third.cfg.VTEP, third.cfg.NetNS = "node3", l.dir+"/run/node3", netip.MustParseAddr("192.168.77.3"), third.path
	l.model.Peers = append(slices.Clone(l.model.Peers), Peer{NodeID: "node3", VTEP: third.cfg.VTEP, Number: 3, Gateways: []netip.Prefix{
		netip.MustParsePrefix("10.200.3.0/24"), netip.MustParsePrefix("fd20:0:0:3::/64")}})
	l.hosts = append(l.hosts, third)
	l.start(third)
	l.tell()
	l.settle()
	for _, network := range []string{"tcp", "udp"} {
		// A local backend is preferred.
		for host, backend := range map[string]string{"192.168.77.1": "a", "fd77::1": "a", "192.168.77.2": "b", "fd77::2": "b"} {
			for range 5 {
				l.wants(l.client, network, net.JoinHostPort(host, "8080"), backend+" "+clientOf(host))
			}
		}
		// A host without any uses all.
		for _, host := range []string{"192.168.77.3", "fd77::3"} {
			got, err := l.client.answers(network, net.JoinHostPort(host, "8080"), 40)
			if err != nil || got["a"] < 5 || got["b"] < 5 {
				t.Errorf("client asks %s %s: %v, %v, want both often", network, host, got, err)
			}
		}
	}
	setReady(l, "a", false)
	l.settle()
	for _, network := range []string{"tcp", "udp"} {
		for _, host := range []string{"192.168.77.1", "192.168.77.2", "192.168.77.3", "fd77::1", "fd77::2", "fd77::3"} {
			l.wants(l.client, network, net.JoinHostPort(host, "8080"), "b "+clientOf(host))
		}
	}
	for _, host := range []string{"192.168.77.1", "fd77::1"} {
		echo(t, l.client, "tcp", net.JoinHostPort(host, "8080"), 300_000)
	}
	// From the nodes themselves.
	for _, h := range l.hosts {
		for _, to := range []string{"127.0.0.1", "::1", "192.168.77.1", "192.168.77.3", "fd77::1"} {
			if _, err := h.ask("tcp", net.JoinHostPort(to, "8080")); err != nil {
				t.Errorf("%s asks %s: %v", h.name, to, err)
			}
		}
	}
	l.wants(third.place, "tcp", "192.168.77.3:8080", "b 192.168.77.3")
	// From containers: through their own node and another, and to themselves.
	for _, to := range []string{"192.168.77.1", "192.168.77.2", "fd77::1", "fd77::2"} {
		for _, c := range []*labContainer{b} {
			if _, err := c.ask("tcp", net.JoinHostPort(to, "8080")); err != nil {
				t.Errorf("container %s asks %s: %v", c.name, to, err)
			}
		}
	}
	// Nobody left.
	setReady(l, "b", false)
	l.settle()
	for _, host := range []string{"192.168.77.1", "fd77::3"} {
		start := time.Now()
		if got, err := l.client.ask("tcp", net.JoinHostPort(host, "8080")); err == nil || time.Since(start) > 900*time.Millisecond {
			t.Errorf("port without backend: %s, %v after %s, want a refusal at once", got, err, time.Since(start))
		}
	}
}

func TestHostPortAndOutside(t *testing.T) {
	l, a, _ := two(t, false)
	l.client.serve(7000)
	for _, to := range []string{"192.168.77.100:7000", "[fd77::100]:7000"} {
		as := "192.168.77.1"
		if to[0] == '[' {
			as = "fd77::1"
		}
		l.wants(a.place, "tcp", to, "client "+as) // masqueraded
		l.wants(a.place, "udp", to, "client "+as)
	}
	a.a.HostPorts = []HostPort{{Protocol: "tcp", Host: 9090, Target: 80}}
	l.attach(a)
	for _, host := range []string{"192.168.77.1", "fd77::1"} {
		if got, err := l.client.ask("tcp", net.JoinHostPort(host, "9090")); err != nil || got != "a "+clientOf(host) {
			t.Errorf("host port: got %q, %v", got, err)
		}
	}
	if _, err := l.client.ask("tcp", "192.168.77.2:9090"); err == nil {
		t.Error("a host port answers on another node")
	}
}
