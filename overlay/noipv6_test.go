//go:build linux

package overlay

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// Many administrators switch IPv6 off on all interfaces of a host, those to come as well. Containers have it among each other.
func TestHostWithoutIPv6(t *testing.T) {
	l := newLab(t, 2, false)
	for _, h := range l.hosts {
		must(t, h.ns.Do(func() error {
			return errors.Join(os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0o644),
				os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644))
		}))
	}
	for _, h := range l.hosts {
		l.start(h)
	}
	l.tell()
	l.settle()
	a := l.webOnBothFamilies()
	for _, to := range []string{"10.10.0.2:80", "[fd10::2]:80", "10.10.0.12:80", "[fd10::c]:80", "192.168.77.1:8080"} {
		if got, err := a.ask("tcp", to); err != nil {
			t.Errorf("%s: %q, %v", to, got, err)
		}
	}
	l.wants(l.client, "tcp", "192.168.77.1:8080", "b 192.168.77.100")
	if _, err := l.client.try("tcp", "[fd77::1]:8080"); err == nil {
		t.Error("IPv6 is switched on again")
	}
}

// A kernel without IPv6 takes part in what networks have of IPv4.
func TestKernelWithoutIPv6(t *testing.T) {
	l := newLab(t, 2, false)
	l.hosts[0].cfg.ipv4Only = true
	for _, h := range l.hosts {
		l.start(h)
	}
	a := l.webOnBothFamilies()
	for _, to := range []string{"10.10.0.2:80", "10.10.0.12:80", "192.168.77.1:8080"} {
		if got, err := a.ask("tcp", to); err != nil {
			t.Errorf("%s: %q, %v", to, got, err)
		}
	}
	l.wants(l.client, "tcp", "192.168.77.1:8080", "b 192.168.77.100")
	for _, p := range []*place{l.hosts[0].place, l.sandboxPlace(l.hosts[0], "app"), a.place} {
		out := p.picture(t)
		for _, prefix := range []string{"fd10", "fd20"} {
			if strings.Contains(out, prefix) {
				t.Errorf("%s has IPv6:\n%s", p.name, out)
			}
		}
	}
}

// webOnBothFamilies is a network with addresses of both kinds, a on one host and the published service web, b, on the other.
func (l *lab) webOnBothFamilies() (a *labContainer) {
	l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
	l.model.Services = []Service{{ID: "web", Name: "web", VIPs: map[string][]netip.Addr{"app": {netip.MustParseAddr("10.10.0.2"), netip.MustParseAddr("fd10::2")}},
		Ports: []Port{{Protocol: "tcp", Target: 80, Published: 8080}}}}
	a = l.container(l.hosts[0], "a", "", 11, "app")
	b := l.container(l.hosts[1], "b", "web", 12, "app")
	b.serve(80)
	l.settle()
	return a
}

// A container may have none of its own accord (--sysctl net.ipv6.conf.all.disable_ipv6=1), and keeps what is left of its
// networks when the daemon is started anew.
func TestContainerWithoutIPv6(t *testing.T) {
	for _, off := range []string{"all", "eth0"} {
		t.Run(off, func(t *testing.T) {
			l, a, b := two(t, false)
			must(t, a.ns.Do(func() error {
				return os.WriteFile("/proc/sys/net/ipv6/conf/"+off+"/disable_ipv6", []byte("1"), 0o644)
			}))
			l.settle()
			l.stop(l.hosts[0])
			l.anew(l.hosts[0])
			l.restart(l.hosts[0])
			l.attach(a)
			l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
			l.wants(b.place, "tcp", at(a.a.Networks[0].Addrs[0], 80), "a 10.10.0.12")
			l.settle()
		})
	}
}
