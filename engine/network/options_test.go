//go:build linux

package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestRefusedNetworks(t *testing.T) {
	l := newLab(t)
	opt := func(kv ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return out
	}
	mac := func(n *api.LocalNetwork) *api.LocalNetwork { n.Driver = Macvlan; return n }
	for want, n := range map[string]*api.LocalNetwork{
		`unknown option "com.docker.network.bridge.colour"`: {Options: opt("com.docker.network.bridge.colour", "red")},
		`unknown option "parent" of driver bridge`:          {Options: opt("parent", "up0")},
		"an MTU is between":                                 {Options: opt("com.docker.network.driver.mtu", "12")},
		"use true or false":                                 {Options: opt("com.docker.network.bridge.enable_icc", "maybe")},
		"use an IPv4 address":                               {Options: opt("com.docker.network.bridge.host_binding_ipv4", "::1")},
		"at most 15 letters":                                {Options: opt("com.docker.network.bridge.name", "much-too-long-name")},
		"does not begin like Shoal's own":                   {Options: opt("com.docker.network.bridge.name", "shbr-x")},
		"has an interface up0 already":                      {Options: opt("com.docker.network.bridge.name", "up0")},
		`driver "weave"`:                                    {Driver: "weave"},
		"-o parent=":                                        mac(&api.LocalNetwork{}),
		"parent none0: this host has no such":               mac(&api.LocalNetwork{Options: opt("parent", "none0")}),
		"parent none0.10: this host has no such":            mac(&api.LocalNetwork{Options: opt("parent", "none0.10")}),
		"parent lo: a loopback interface":                   mac(&api.LocalNetwork{Options: opt("parent", "lo")}),
		"cannot be internal":                                mac(&api.LocalNetwork{Internal: true, Options: opt("parent", "up0")}),
		"use bridge, passthru, private, vepa":               mac(&api.LocalNetwork{Options: opt("parent", "up0", "macvlan_mode", "x")}),
		"use l2, l3, l3s":                                   {Driver: IPvlan, Options: opt("parent", "up0", "ipvlan_mode", "l4")},
		"is not an address of 10.9.0.0/24":                  {Ipam: []*api.IPAMConfig{{Subnet: "10.9.0.0/24", AuxAddresses: opt("r", "10.8.0.1")}}},
		"overlaps 192.0.2.0/24":                             {Ipam: []*api.IPAMConfig{{Subnet: "192.0.2.0/25"}}},
	} {
		n.Name = "refused"
		if _, err := l.m.Create(context.Background(), n); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if len(l.links()) > 0 {
		t.Errorf("links of refused networks: %v", l.links())
	}
}

// A kernel without ipvlan is told from one that has it; there the network works.
func TestIPvlan(t *testing.T) {
	for _, mode := range []string{"l2", "l3", "l3s"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t)
			n := &api.LocalNetwork{Name: "ip", Driver: IPvlan, Options: map[string]string{"parent": "up0", "ipvlan_mode": mode}, Ipam: []*api.IPAMConfig{{Subnet: "198.51.100.0/24"}}}
			_, err := l.m.Create(context.Background(), n)
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.ParentIndex = "probe0", l.index("up0")
			probe := &netlink.IPVlan{LinkAttrs: attrs}
			if l.host.nl.LinkAdd(probe) != nil {
				t.Log("NOT TESTED beyond the refusal: this kernel has no ipvlan")
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "kernel has no ipvlan") || !strings.Contains(err.Error(), "modprobe ipvlan") {
					t.Errorf("got %v, want a refusal that says what the kernel lacks", err)
				}
				return
			}
			if err := errors.Join(err, l.host.nl.LinkDel(probe)); err != nil {
				t.Fatal(err)
			}
			testIPvlan(l, mode)
		})
	}
}

// testIPvlan has the machine outside as the gateway of l2, and as one that knows the way back in l3.
func testIPvlan(l *lab, mode string) {
	if mode != "l2" {
		l.outside.route("198.51.100.0/24", hostAddr4)
	} else if err := addAddr(l.outside.nl, must(l.outside.nl.LinkByName("up0")), netip.MustParsePrefix("198.51.100.1/24")); err != nil {
		l.t.Fatal(err)
	}
	l.outside.serve("outside", 80)
	one := l.run("one", []string{"ip"})
	l.run("two", []string{"ip"})
	one.wantAnswer("tcp", l.address("two", 0)+":80", "two "+l.address("one", 0))
	one.wantAnswer("tcp", outsideAddr4+":80", "outside "+l.address("one", 0))
	if want := map[bool]string{true: "198.51.100.1", false: "0.0.0.0"}[mode == "l2"]; l.rows["one"].Endpoints[0].Gateways[0] != want || l.rows["one"].Endpoints[0].Mac != "" {
		l.t.Errorf("endpoint %v, want gateway %s and no hardware address", l.rows["one"].Endpoints[0], want)
	}
}

// A network of ours must not hide the host's resolver.
func TestSubnetBesideResolver(t *testing.T) {
	l := newLab(t)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 172.18.9.9\nnameserver fe80::1%up0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.m.cfg.ResolvConf = file
	n, err := l.m.Create(context.Background(), &api.LocalNetwork{Name: "mine"})
	if err != nil || n.Ipam[0].Subnet != "172.19.0.0/16" {
		t.Errorf("got %v, %v; want the first subnet past the resolver's", n, err)
	}
}

func (l *lab) index(name string) int {
	l.t.Helper()
	link, err := l.host.nl.LinkByName(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return link.Attrs().Index
}

func (l *lab) create(n *api.LocalNetwork) {
	l.t.Helper()
	if _, err := l.m.Create(context.Background(), n); err != nil {
		l.t.Fatal(err)
	}
}

// Whether nftables sees what is bridged is a matter of another module and its settings; nothing may depend on it.
func TestBridgeOptions(t *testing.T) {
	for _, filter := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+filter, func(t *testing.T) {
			l := newLab(t)
			err := l.host.do(func() error {
				return errors.Join(writeSysctl("net/bridge/bridge-nf-call-iptables", filter), writeSysctl("net/bridge/bridge-nf-call-ip6tables", filter))
			})
			if err != nil && filter == "1" {
				t.Skip("SKIPPED: this kernel has no br_netfilter")
			}
			l.m.Close()
			l.m = l.open(l.m.cfg.Dir)
			testBridgeOptions(t, l)
		})
	}
}

func testBridgeOptions(t *testing.T, l *lab) {
	l.create(&api.LocalNetwork{Name: "apart", Ipv6: true, Options: map[string]string{
		"com.docker.network.bridge.name": "br-apart", "com.docker.network.bridge.enable_icc": "false", "com.docker.network.driver.mtu": "1400",
	}})
	l.create(&api.LocalNetwork{Name: "plain", Options: map[string]string{
		"com.docker.network.bridge.enable_ip_masquerade": "false", "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
	}, Ipam: []*api.IPAMConfig{{Subnet: "10.77.0.0/24", IpRange: "10.77.0.64/30", AuxAddresses: map[string]string{"router": "10.77.0.64"}}}})
	one, two := l.run("one", []string{"apart"}), l.run("two", []string{"apart"}, port(8080, 80))
	plain := l.run("plain", []string{"plain"}, port(8081, 80))
	l.outside.serve("outside", 80)
	l.outside.route("10.77.0.0/24", hostAddr4)

	t.Run("containers apart", func(t *testing.T) {
		one.wantNoAnswer("tcp", l.address("two", 0)+":80")
		one.wantNoAnswer("tcp", at6(l.address("two", 1), "80"))
		// Nor through the host, to which another one's address can be routed.
		one.route(l.address("two", 0)+"/32", l.m.byName("apart").Ipam[0].Gateway)
		one.wantNoAnswer("tcp", l.address("two", 0)+":80")
		one.wantAnswer("tcp", outsideAddr4+":80", "outside "+hostAddr4)
		one.wantAnswer("tcp", hostAddr4+":8080", "two")
		two.wantAnswer("tcp", hostAddr4+":8080", "two")
		l.outside.wantAnswer("tcp", hostAddr4+":8080", "two")
	})
	t.Run("name and MTU of the bridge", func(t *testing.T) {
		link, err := l.host.nl.LinkByName("br-apart")
		if err != nil || link.Attrs().MTU != 1400 {
			t.Errorf("got %v, %v", link, err)
		}
	})
	t.Run("no masquerade", func(t *testing.T) {
		plain.wantAnswer("tcp", outsideAddr4+":80", "outside "+l.address("plain", 0))
	})
	t.Run("ports at one address of the host", func(t *testing.T) {
		l.host.wantAnswer("tcp", "127.0.0.1:8081", "plain")
		l.outside.wantNoAnswer("tcp", hostAddr4+":8081")
		if got := l.rows["plain"].Ports[0].HostIp; got != "127.0.0.1" {
			t.Errorf("the row says %q", got)
		}
	})
	t.Run("ranges and auxiliary addresses", func(t *testing.T) {
		if got := l.address("plain", 0); got != "10.77.0.65" {
			t.Errorf("first address %s", got)
		}
		l.run("second", []string{"plain"})
		l.run("third", []string{"plain"})
		if got := l.address("third", 0); got != "10.77.0.67" {
			t.Errorf("third address %s", got)
		}
		if err := l.try("fourth", one.path, []string{"plain"}); !errors.Is(err, ErrInUse) {
			t.Errorf("past the range: %v", err)
		}
	})
	for name := range l.rows {
		l.stop(name)
	}
	t.Run("a bridge stays for the next container, not without its network", func(t *testing.T) {
		l.index("br-apart")
		if err := l.m.Remove(context.Background(), "apart"); err != nil {
			t.Fatal(err)
		}
		l.create(&api.LocalNetwork{Name: "apart", Options: map[string]string{"com.docker.network.bridge.name": "br-apart"}})
		l.index(l.m.byName("plain").Bridge)
	})
	l.wantNothingLeft()
}

func TestMacvlan(t *testing.T) {
	l := newLab(t)
	lan := []*api.IPAMConfig{{Subnet: "192.0.2.0/24", Gateway: outsideAddr4, AuxAddresses: map[string]string{"host": hostAddr4}}}
	parent := func(kv ...string) map[string]string {
		out := map[string]string{"parent": "up0"}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return out
	}
	l.outside.serve("outside", 80)
	for _, mode := range []string{"", "bridge", "private", "vepa", "passthru"} {
		t.Run("mode "+mode, func(t *testing.T) {
			o := parent()
			if mode != "" {
				o["macvlan_mode"] = mode
			}
			l.create(&api.LocalNetwork{Name: "lan", Driver: Macvlan, Options: o, Ipam: lan})
			one := l.run("one", []string{"lan"})
			one.wantAnswer("tcp", outsideAddr4+":80", "outside "+l.address("one", 0))
			two := newSpace(t, "two")
			err := l.try("two", two.path, []string{"lan"})
			switch mode {
			case "passthru":
				if !errors.Is(err, ErrInUse) {
					t.Errorf("a second container: %v", err)
				}
			case "", "bridge":
				two.serve("two", 80)
				one.wantAnswer("tcp", l.address("two", 0)+":80", "two "+l.address("one", 0))
			default: // only a switch outside would bring them together
				two.serve("two", 80)
				one.wantNoAnswer("tcp", l.address("two", 0)+":80")
			}
			for name := range l.rows {
				l.stop(name)
			}
			if err := l.m.Remove(context.Background(), "lan"); err != nil {
				t.Fatal(err)
			}
			// The namespaces are the engine's to remove, and the interfaces with them.
			for _, s := range []*space{one, two} {
				if link, err := s.nl.LinkByName("eth0"); err == nil {
					s.nl.LinkDel(link)
				}
			}
		})
	}
	l.rows = map[string]Attachment{}
	if err := l.m.Reconcile(context.Background(), func() []Attachment { return nil }); err != nil {
		t.Fatal(err)
	}
	l.wantNothingLeft()
}

// TestHardwareAddressOfOneThatHasGone: the kernel has the interface of a container that has ended for some time longer.
func TestHardwareAddressOfOneThatHasGone(t *testing.T) {
	l := newLab(t)
	l.create(&api.LocalNetwork{Name: "lan", Driver: Macvlan, Options: map[string]string{"parent": "up0"}, Ipam: []*api.IPAMConfig{{Subnet: "192.0.2.0/24"}}})
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) { // at the end the namespace goes
			s := newSpace(t, "next")
			if err := l.try("next", s.path, []string{"lan"}); err != nil {
				t.Error(err)
			}
			l.stop("next")
		})
	}
}

// A daemon that dies while it tries out what the kernel has is followed by one that knows the interface for ours.
func TestProbeIsOurs(t *testing.T) {
	for name, want := range map[string]bool{probeName: true, "eth0.10": false} {
		if ours(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name}}) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

// A VLAN's interface is there while somebody is on it. Kernels without VLANs are told apart.
func TestVLAN(t *testing.T) {
	l := newLab(t)
	ten := &api.LocalNetwork{Name: "ten", Driver: Macvlan, Options: map[string]string{"parent": "up0.10"}, Ipam: []*api.IPAMConfig{{Subnet: "10.10.0.0/24", Gateway: "10.10.0.1"}}}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = "up0.10", must(l.outside.nl.LinkByName("up0")).Attrs().Index
	_, err := l.m.Create(context.Background(), ten)
	if l.outside.nl.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 10, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}) != nil {
		t.Log("NOT TESTED beyond the refusal: this kernel has no VLANs")
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "kernel has no vlan") || !strings.Contains(err.Error(), "modprobe 8021q") {
			t.Errorf("got %v, want a refusal that says what the kernel lacks", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	there := must(l.outside.nl.LinkByName("up0.10"))
	if err := errors.Join(addAddr(l.outside.nl, there, netip.MustParsePrefix("10.10.0.1/24")), l.outside.nl.LinkSetUp(there)); err != nil {
		t.Fatal(err)
	}
	l.outside.serve("outside", 80)
	one := l.run("one", []string{"ten"})
	for range 2 {
		one.wantAnswer("tcp", "10.10.0.1:80", "outside "+l.address("one", 0))
		l.m.Close()
		l.m = l.open(l.m.cfg.Dir)
		if err := l.m.Reconcile(context.Background(), func() []Attachment { return []Attachment{l.rows["one"]} }); err != nil {
			t.Fatal(err)
		}
	}
	l.stop("one")
	l.wantNothingLeft()
}

func must(l netlink.Link, err error) netlink.Link {
	if err != nil {
		panic(err)
	}
	return l
}
