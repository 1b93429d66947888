//go:build linux

package overlay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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
		if got, err := l.client.ask("tcp", net.JoinHostPort(host, "8080")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port without backend: %s, %v, want connection refused", got, err)
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
	if _, err := l.client.try("tcp", "192.168.77.2:9090"); err == nil {
		t.Error("a host port answers on another node")
	}
}

// A client by IPv4 and IPv6, whatever the tunnel runs on, and on hosts that throw away what comes another way than it
// would go.
func TestIngressElsewhere(t *testing.T) {
	for name, tc := range map[string]struct {
		six    bool
		filter string
	}{"IPv6 underlay": {six: true}, "strict reverse path": {filter: "1"}, "loose reverse path": {filter: "2"}} {
		t.Run(name, func(t *testing.T) {
			l, _, _ := two(t, tc.six)
			for _, h := range l.hosts {
				if tc.filter == "" {
					break
				}
				must(t, h.ns.Do(func() error {
					return errors.Join(os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte(tc.filter), 0o644),
						os.WriteFile("/proc/sys/net/ipv4/conf/default/rp_filter", []byte(tc.filter), 0o644))
				}))
			}
			l.settle()
			setReady(l, "a", false)
			l.settle()
			for _, network := range []string{"tcp", "udp"} {
				for _, host := range []string{"192.168.77.1", "fd77::1"} { // entered where the backend is not
					l.wants(l.client, network, net.JoinHostPort(host, "8080"), "b "+clientOf(host))
				}
			}
			echo(t, l.client, "tcp", "[fd77::1]:8080", 300_000)
			echo(t, l.client, "udp", "192.168.77.1:8080", 5000)
			// The first large IPv6 datagram is lost: its sender hears how large packets may be, and cuts the next smaller.
			l.eventually("large IPv6 datagrams", func() error { return echoes(l.client, "udp", "[fd77::1]:8080", 5000) })
		})
	}
}

// What holds for virtual addresses holds for published ports: datagrams leave a backend that drains at once, connections
// when it is gone, on the entry node and with the client's address.
func TestIngressBackendRemoval(t *testing.T) {
	l, _, _ := two(t, false)
	for _, host := range []string{"192.168.77.1", "fd77::1"} {
		addr := net.JoinHostPort(host, "8080")
		setReady(l, "a", false)
		setReady(l, "b", true)
		l.settle()
		udp, err := l.client.dial("udp", addr)
		must(t, err)
		defer udp.Close()
		tcp, err := l.client.dial("tcp", addr)
		must(t, err)
		defer tcp.Close()
		must(t, answeredBy(udp, "b"))
		must(t, answeredBy(tcp, "b"))
		setReady(l, "a", true)
		setReady(l, "b", false)
		l.eventually("datagrams move to a", func() error { return answeredWithin(short, udp, "a") })
		must(t, answeredBy(tcp, "b"))
		keep := l.cuts(tcp, "b")
		l.settle()
		for _, place := range []*place{l.hosts[0].place, l.hosts[1].place} {
			if left := place.flowsTo(t, 8080, "10.200.2.", "fd20:0:0:2:"); len(left) > 0 {
				t.Errorf("%s tracks connections to the removed backend: %v", place.name, left)
			}
		}
		l.model.Endpoints = keep
	}
}

// flowsTo lists the tracked connections to a port that an address with one of the prefixes answers.
func (p *place) flowsTo(t *testing.T, port uint16, prefixes ...string) (out []string) {
	t.Helper()
	nf, err := netlink.NewHandleAt(handleOf(p.ns), unix.NETLINK_NETFILTER)
	must(t, err)
	defer nf.Close()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		list, err := nf.ConntrackTableList(netlink.ConntrackTable, family)
		must(t, err)
		for _, f := range list {
			for _, prefix := range prefixes {
				if f.Forward.DstPort == port && strings.HasPrefix(f.Reverse.SrcIP.String(), prefix) {
					out = append(out, f.String())
				}
			}
		}
	}
	return out
}

// A host port given to another container takes the datagram flows of its clients along; without one they are refused.
func TestHostPortMoves(t *testing.T) {
	l, a, _ := two(t, false)
	port := []HostPort{{Protocol: "udp", Host: 9090, Target: 80}, {Protocol: "tcp", Host: 9090, Target: 80}}
	a.a.HostPorts = port
	l.attach(a)
	l.settle()
	var flows []net.Conn
	for _, host := range []string{"192.168.77.1", "fd77::1"} {
		udp, err := l.client.dial("udp", net.JoinHostPort(host, "9090"))
		must(t, err)
		defer udp.Close()
		must(t, answeredBy(udp, "a"))
		flows = append(flows, udp)
	}
	must(t, l.hosts[0].o.Detach(t.Context(), "a"))
	l.settle()
	for _, f := range flows {
		if err := answeredWithin(short, f, "a"); err == nil {
			t.Error("the detached container answers")
		}
	}
	heir := l.container(l.hosts[0], "heir", "", 14, "app")
	heir.serve(80)
	heir.a.HostPorts = port
	l.attach(heir)
	l.settle()
	for _, f := range flows {
		l.eventually("the flow moves", func() error { return answeredWithin(short, f, "heir") })
	}
	if left := l.hosts[0].flowsTo(t, 9090, a.a.Gateway[0].Addr().String(), a.a.Gateway[1].Addr().String()); len(left) > 0 {
		t.Errorf("connections to the detached container are tracked: %v", left)
	}
	l.wants(l.client, "tcp", "192.168.77.1:9090", "heir 192.168.77.100")
}
