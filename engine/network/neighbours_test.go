//go:build linux

package network

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/shoal-dev/shoal/proto/api"
)

// neighbours maps the addresses that a namespace knows on its links to hardware addresses.
func (s *space) neighbours() map[string]string {
	s.t.Helper()
	list, err := s.nl.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]string{}
	for _, n := range list {
		a, _ := netip.AddrFromSlice(n.IP)
		out[a.Unmap().String()] = n.HardwareAddr.String()
	}
	return out
}

// Nobody has sent anything yet.
func TestIntroduced(t *testing.T) {
	l := newLab(t)
	c := l.run("c", []string{Bridge})
	host, inside := l.host.neighbours(), c.neighbours()
	ep := l.rows["c"].Endpoints[0]
	for i, gw := range ep.Gateways {
		if got := host[l.address("c", i)]; got != ep.Mac {
			t.Errorf("the bridge has %q for %s, which is %s", got, l.address("c", i), ep.Mac)
		}
		if got, want := inside[gw], bridgeMAC(l.m.byName(Bridge)).String(); got != want {
			t.Errorf("the container has %q for %s, which is %s", got, gw, want)
		}
	}
}

// The next one with an address may have a hardware address of its own.
func TestIntroducedAnew(t *testing.T) {
	l := newLab(t)
	l.run("first", []string{Bridge}, port(8080, 80))
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "first")
	l.outside.wantAnswer("tcp", at6(hostAddr6, "8080"), "first")
	address := l.address("first", 0)
	l.stop("first")
	s := newSpace(t, "second")
	eps, err := l.m.Allocate(nil, []*api.LocalNetworkAttachment{{Network: Bridge, Mac: "02:00:00:00:00:99"}})
	if err != nil {
		t.Fatal(err)
	}
	bound, err := l.m.Reserve(t.Context(), "second", eps, []*api.PortBinding{port(8080, 80)})
	if err != nil {
		t.Fatal(err)
	}
	l.rows["second"] = Attachment{Container: "second", Name: "second", NetNS: s.path, Endpoints: eps, Ports: bound}
	if err := l.m.Attach(t.Context(), l.rows["second"]); err != nil {
		t.Fatal(err)
	}
	if got := l.address("second", 0); got != address {
		t.Fatalf("it has %s and not %s", got, address)
	}
	s.serve("second", 80)
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "second")
	l.outside.wantAnswer("tcp", at6(hostAddr6, "8080"), "second")
}
