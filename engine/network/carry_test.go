//go:build linux

package network

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// Who has attached a container starts its command, which may send or be asked at once. A list of links, unlike a look at one, has the
// kernel do nothing about them. The rules take long enough to hide a kernel that is late: they are left out.
func TestAttachedCarries(t *testing.T) {
	l := newLab(t)
	for i := range 20 {
		l.create(&api.LocalNetwork{Name: fmt.Sprint("n", i), Ipv6: true})
		n := l.m.byName(fmt.Sprint("n", i))
		eps, err := l.m.Allocate(nil, []*api.LocalNetworkAttachment{{Network: n.Name}})
		if err != nil {
			t.Fatal(err)
		}
		s := newSpace(t, "c")
		if err := l.m.attach(Attachment{Container: "c", Name: "c", NetNS: s.path, Endpoints: eps}); err != nil {
			t.Fatal(err)
		}
		l.host.wantUp(n.Bridge)
		l.host.wantUp(vethName("c", n.Id))
		l.host.wantLocal(eps[0].Gateways[1])
		s.wantLocal(netip.MustParsePrefix(eps[0].Addresses[1]).Addr().String())
	}
}

func (s *space) wantUp(name string) {
	s.t.Helper()
	links, err := s.nl.LinkList()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		if link.Attrs().Name == name && link.Attrs().OperState != netlink.OperUp {
			s.t.Errorf("link %s carries nothing: %s", name, link.Attrs().OperState)
		}
	}
}

func (s *space) wantLocal(address string) {
	s.t.Helper()
	routes, err := s.nl.RouteListFiltered(unix.AF_INET6, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range routes {
		if r.Type == unix.RTN_LOCAL && r.Dst.IP.String() == address {
			return
		}
	}
	s.t.Errorf("packets to %s are not taken", address)
}
