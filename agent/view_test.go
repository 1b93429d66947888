//go:build linux

package agent

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestPeersOfTheView(t *testing.T) {
	v := newView("n1")
	v.apply(true, []*api.Assignment{{Kind: &api.Assignment_Peer{Peer: &api.PeerView{
		NodeId: "n2", Hostname: "h2", DataPathAddr: "192.0.2.2", Addresses: []string{"192.0.2.2", "2001:db8::2"},
		GatewaySubnets: []string{"10.112.4.0/22"}, Number: 2, Down: true,
	}}}})
	want := []overlay.Peer{{
		NodeID: "n2", Hostname: "h2", VTEP: netip.MustParseAddr("192.0.2.2"), Addrs: addrs([]string{"192.0.2.2", "2001:db8::2"}),
		Gateways: []netip.Prefix{netip.MustParsePrefix("10.112.4.0/22")}, Number: 2, Down: true,
	}}
	if diff := cmp.Diff(want, v.desired().Peers, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
