package dispatcher

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestPeerView(t *testing.T) {
	n := &api.Node{
		Id: "n1", Number: 7, GatewaySubnets: []string{"10.112.0.0/22"},
		Description: &api.NodeDescription{Hostname: "h1", Addresses: []string{"192.0.2.1", "2001:db8::1"}},
		Status:      &api.NodeStatus{State: api.NodeStatus_DOWN, DataPathAddr: "192.0.2.1"},
	}
	want := &api.PeerView{
		NodeId: "n1", Hostname: "h1", DataPathAddr: "192.0.2.1", GatewaySubnets: n.GatewaySubnets, Number: 7, Down: true,
		Addresses: []string{"192.0.2.1", "2001:db8::1"},
	}
	if diff := cmp.Diff(want, peerView(n), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
