//go:build linux

package network

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestAllocate(t *testing.T) {
	n := &api.LocalNetwork{Id: "n", Name: "n", Driver: Bridge, Ipam: []*api.IPAMConfig{{Subnet: "10.1.0.0/29", Gateway: "10.1.0.1"}, {Subnet: "fd00::/64", Gateway: "fd00::1"}}}
	m := &Manager{networks: map[string]*api.LocalNetwork{"n": n}}
	want := []*api.LocalNetworkAttachment{{Network: "n"}}
	var rows []*api.NetworkEndpoint
	for _, addr := range []string{"10.1.0.2/29", "10.1.0.3/29", "10.1.0.4/29", "10.1.0.5/29", "10.1.0.6/29"} {
		got, err := m.Allocate(rows, want)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Addresses[0] != addr {
			t.Errorf("got %v, want %s first", got[0].Addresses, addr)
		}
		rows = append(rows, got...)
	}
	if rows[0].Mac != "02:53:0a:01:00:02" {
		t.Errorf("MAC %s does not follow from the address", rows[0].Mac)
	}
	if _, err := m.Allocate(rows, want); !errors.Is(err, ErrInUse) {
		t.Errorf("full network: %v, want ErrInUse", err)
	}
	// A row that is gone gives its address back: nothing else remembers it.
	got, err := m.Allocate(append(rows[:1:1], rows[2:]...), want)
	if err != nil || got[0].Addresses[0] != "10.1.0.3/29" {
		t.Errorf("after a removal: %v, %v", got, err)
	}
	for _, bad := range []*api.LocalNetworkAttachment{
		{Network: "n", Ip: "10.1.0.1"}, {Network: "n", Ip: "10.1.0.7"}, {Network: "n", Ip: "10.2.0.1"}, {Network: "n", Ip: "10.1.0.2"},
		{Network: "n", Mac: "nonsense"}, {Network: "nowhere"},
	} {
		if got, err := m.Allocate(rows[:1], []*api.LocalNetworkAttachment{bad}); err == nil {
			t.Errorf("%v is not refused: %v", bad, got)
		}
	}
}

func TestChooseSubnets(t *testing.T) {
	busy := []netip.Prefix{netip.MustParsePrefix("172.16.0.0/14"), netip.MustParsePrefix("172.20.5.0/24")}
	id := "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	got, err := chooseSubnets(&api.LocalNetwork{Id: id, Ipv6: true}, busy)
	if err != nil {
		t.Fatal(err)
	}
	var subnets []string
	for _, c := range got {
		subnets = append(subnets, c.Subnet+" "+c.Gateway)
	}
	want := []string{"172.21.0.0/16 172.21.0.1", "fd00:1122:3344:5566::/64 fd00:1122:3344:5566::1"}
	if diff := cmp.Diff(want, subnets); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]*api.IPAMConfig{
		"overlap":      {Subnet: "172.17.4.0/24"},
		"host bits":    {Subnet: "10.0.0.1/24"},
		"no room":      {Subnet: "10.0.0.0/31"},
		"far gateway":  {Subnet: "10.0.0.0/24", Gateway: "10.0.1.1"},
		"far range":    {Subnet: "10.0.0.0/24", IpRange: "10.0.1.0/25"},
		"not a subnet": {Subnet: "ten"},
	} {
		if _, err := chooseSubnets(&api.LocalNetwork{Id: id, Ipam: []*api.IPAMConfig{c}}, busy); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func TestParseExposed(t *testing.T) {
	got := ParseExposed([]string{"80/tcp", "53/udp", "9000", "nonsense", "80/", "0", "70000", "80/icmp", "+80", "80/tcp/x"})
	var ports []string
	for _, p := range got {
		ports = append(ports, p.Protocol)
	}
	if diff := cmp.Diff([]string{"udp", "tcp", "tcp"}, ports); diff != "" {
		t.Error(diff)
	}
}

func TestPublishedTwice(t *testing.T) {
	at := func(ip string, port, end uint32, proto string) *api.PortBinding {
		return &api.PortBinding{HostIp: ip, HostPort: port, HostPortEnd: end, Protocol: proto, ContainerPort: 80}
	}
	for _, c := range []struct {
		a, b  *api.PortBinding
		twice bool
	}{
		{at("", 80, 0, ""), at("", 80, 0, "tcp"), true},
		{at("", 80, 0, ""), at("127.0.0.1", 80, 0, ""), true},
		{at("0.0.0.0", 80, 0, ""), at("127.0.0.1", 80, 0, ""), true},
		{at("127.0.0.2", 80, 0, ""), at("127.0.0.1", 80, 0, ""), false},
		{at("0.0.0.0", 80, 0, ""), at("::1", 80, 0, ""), false},
		{at("", 80, 0, "udp"), at("", 80, 0, "tcp"), false},
		{at("", 0, 0, ""), at("", 0, 0, ""), false},
		{at("", 80, 90, ""), at("", 80, 90, ""), false},
	} {
		if err := checkTwice([]*api.PortBinding{c.a, c.b}); (err != nil) != c.twice {
			t.Errorf("%v, %v: %v", c.a, c.b, err)
		}
	}
}
