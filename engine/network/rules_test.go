//go:build linux

package network

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testNetworks are a usual one, an internal one and attachments to both.
func testNetworks() ([]*api.LocalNetwork, []Attachment) {
	usual := &api.LocalNetwork{Id: "a1", Name: "bridge", Driver: Bridge, Bridge: "shbr0", Ipv6: true, Ipam: []*api.IPAMConfig{
		{Subnet: "172.17.0.0/16", Gateway: "172.17.0.1"}, {Subnet: "fd00:1::/64", Gateway: "fd00:1::1"},
	}}
	internal := &api.LocalNetwork{Id: "b2", Name: "back", Driver: Bridge, Bridge: "shbr-b2", Internal: true, Ipam: []*api.IPAMConfig{
		{Subnet: "172.18.0.0/16", Gateway: "172.18.0.1"},
	}}
	web := Attachment{Container: "web", Name: "web", Endpoints: []*api.NetworkEndpoint{
		{NetworkId: "b2", Addresses: []string{"172.18.0.2/16"}},
		{NetworkId: "a1", Addresses: []string{"172.17.0.2/16", "fd00:1::2/64"}, Gateways: []string{"172.17.0.1", "fd00:1::1"}},
	}, Ports: []*api.PortBinding{
		{Protocol: "tcp", HostPort: 8080, ContainerPort: 80},
		{Protocol: "udp", HostPort: 53, ContainerPort: 5353, HostIp: "0.0.0.0"},
		{Protocol: "tcp", HostPort: 443, ContainerPort: 8443, HostIp: "127.0.0.1"},
		{Protocol: "tcp", HostPort: 444, ContainerPort: 8443, HostIp: "2001:db8::1"},
	}}
	return []*api.LocalNetwork{internal, usual}, []Attachment{web}
}

// apartNetworks are a bridge that keeps its containers apart and does not hide them, and a macvlan before it.
func apartNetworks() ([]*api.LocalNetwork, []Attachment) {
	apart := &api.LocalNetwork{Id: "c3", Name: "apart", Driver: Bridge, Bridge: "br-apart", Options: map[string]string{
		"com.docker.network.bridge.enable_icc": "false", "com.docker.network.bridge.enable_ip_masquerade": "false",
	}, Ipam: []*api.IPAMConfig{{Subnet: "172.19.0.0/16", Gateway: "172.19.0.1"}}}
	web := Attachment{Container: "web", Endpoints: []*api.NetworkEndpoint{
		{NetworkId: "d4", Addresses: []string{"192.168.0.2/24"}, Gateways: []string{"192.168.0.1"}},
		{NetworkId: "c3", Addresses: []string{"172.19.0.2/16", "169.254.1.1/16"}, Gateways: []string{"172.19.0.1"}},
	}, Ports: []*api.PortBinding{{Protocol: "tcp", HostPort: 80, ContainerPort: 80}}}
	return []*api.LocalNetwork{apart}, []Attachment{web}
}

func TestRulesGolden(t *testing.T) {
	for name, rs := range map[string]*ruleset{
		"rules": buildRules(testNetworks()), "apart": buildRules(apartNetworks()), "redirect": redirectRules(40001, 40002),
	} {
		got, file := rs.String(), "testdata/"+name+".nft"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differ (-want +got), run with -update if that is right:\n%s", name, diff)
		}
	}
}
