//go:build linux

package overlay

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Who has attached a container starts its command, which may send or be asked at once. A list of links, unlike a look at one, has the
// kernel do nothing about them.
func TestAttachedCarries(t *testing.T) {
	l := newLab(t, 1, false)
	h := l.hosts[0]
	l.start(h)
	l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
	for i := range 20 {
		c := l.container(h, fmt.Sprint("c", i), "", 11+i, "app")
		wantUp(t, l.sandboxPlace(h, "app"), linkName(vethPrefix, c.a.ID))
		wantUp(t, h.place, linkName(portPrefix, c.a.ID))
		for _, a := range []string{c.a.Networks[0].Addrs[1].String(), c.a.Gateway[1].Addr().String()} {
			if !c.local(t)[a] {
				t.Errorf("%s does not take packets to its address %s", c.name, a)
			}
		}
	}
	for _, g := range []string{"fd10::1", "fd20:0:0:1::1"} {
		if !l.sandboxPlace(h, "app").local(t)[g] && !h.local(t)[g] {
			t.Errorf("nobody takes packets to the gateway %s", g)
		}
	}
}

func wantUp(t *testing.T, p *place, name string) {
	t.Helper()
	links, err := p.h.LinkList()
	must(t, err)
	for _, link := range links {
		if link.Attrs().Name == name && link.Attrs().OperState != netlink.OperUp {
			t.Errorf("link %s of %s carries nothing: %s", name, p.name, link.Attrs().OperState)
		}
	}
}

// local is the set of IPv6 addresses that a namespace takes packets to.
func (p *place) local(t *testing.T) map[string]bool {
	t.Helper()
	routes, err := p.h.RouteListFiltered(unix.AF_INET6, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
	must(t, err)
	out := map[string]bool{}
	for _, r := range routes {
		if r.Type == unix.RTN_LOCAL {
			out[r.Dst.IP.String()] = true
		}
	}
	return out
}
