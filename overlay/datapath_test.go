//go:build linux

package overlay

import (
	"net/netip"
	"testing"
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
