//go:build linux

package netstate

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/overlay/netns"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func space(t *testing.T) Space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	path := filepath.Join(t.TempDir(), "ns")
	must(t, netns.Create(path))
	ns, err := netns.Open(path)
	must(t, err)
	h, err := netlink.NewHandleAt(vns.NsHandle(ns.FD()), unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(func() { h.Close(); ns.Close(); netns.Remove(path) })
	return Space{H: h, FD: ns.FD(), Offload: true}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// example has one of everything, in both families.
func example() (State, Scope) {
	const mac = "02:00:00:00:00:02"
	return State{
		Links: []Link{{Name: "lo"}, {Name: "br", Kind: "bridge", MTU: 1400}, {Name: "vx", Kind: "vxlan", MTU: 1350, MAC: "02:00:00:00:00:01",
			VXLAN: VXLAN{VNI: 77, Port: 4789, Local: addr("192.0.2.1")}}},
		Addrs:  []Addr{{"br", prefix("10.1.0.1/24")}, {"br", prefix("fd01::1/64")}},
		Neighs: []Neigh{{"vx", addr("169.254.0.2"), mac}, {"vx", addr("fe80::2"), mac}},
		FDB:    []FDB{{"vx", mac, addr("192.0.2.2")}},
		Routes: []Route{
			{Dst: prefix("10.2.0.0/24"), Via: addr("169.254.0.2"), Dev: "vx", Src: addr("10.1.0.1")}, {Dst: prefix("fd02::/64"), Via: addr("fe80::2"), Dev: "vx"},
			{Dst: prefix("10.3.0.3/32"), Dev: "br"}, {Dst: prefix("fd03::3/128"), Dev: "br"},
			{Dst: prefix("10.4.0.0/16"), Unreachable: true}, {Dst: prefix("fd04::/48"), Unreachable: true},
			{Dst: prefix("0.0.0.0/0"), Via: addr("169.254.0.2"), Dev: "vx", Table: 99}, {Dst: prefix("::/0"), Via: addr("fe80::2"), Dev: "vx", Table: 99},
			{Dst: prefix("::1/128"), Dev: "vx", Table: unix.RT_TABLE_LOCAL, Local: true, Metric: 1 << 30},
		},
		Rules: []Rule{{Priority: 700, Mark: 5, Table: 99}, {V6: true, Priority: 700, Mark: 5, Table: 99}},
	}, Scope{Devices: map[string]bool{"br": true, "vx": true}, RulePriority: 700}
}

// differences says all of them, links first.
func (s Space) differences(t *testing.T, want State, scope Scope, repair bool) (lines []string) {
	t.Helper()
	for _, step := range []func() ([]Op, error){
		func() ([]Op, error) { return s.DiffLinks(want.Links) },
		func() ([]Op, error) { return s.Diff(want, scope) },
	} {
		ops, err := step()
		must(t, err)
		for _, op := range ops {
			lines = append(lines, op.What)
		}
		if repair {
			must(t, Apply(ops))
		}
	}
	return lines
}

func TestMakesAndKeeps(t *testing.T) {
	s := space(t)
	want, scope := example()
	if n := len(s.differences(t, want, scope, true)); n < 18 {
		t.Errorf("%d differences in an empty namespace", n)
	}
	if lines := s.differences(t, want, scope, false); len(lines) > 0 {
		t.Errorf("after the repair: %s", strings.Join(lines, "\n"))
	}
	want.Links = want.Links[:1] // links are not removed here
	gone := s.differences(t, State{Links: want.Links}, scope, true)
	if lines := s.differences(t, State{}, scope, false); len(gone) < 15 || len(lines) > 0 {
		t.Errorf("removed %d, left: %s", len(gone), strings.Join(lines, "\n"))
	}
}

// One thing changes, one line says so and one operation sets it right.
func TestOneChange(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*State)
		says   []string
	}{
		"peer's MAC": {func(w *State) { w.Neighs[0].MAC = "02:00:00:00:00:09" }, []string{"neighbour 169.254.0.2 on vx is missing"}},
		"peer moves": {func(w *State) { w.FDB[0].VTEP = addr("192.0.2.9") }, []string{"forwarding entry 02:00:00:00:00:02 on vx is missing"}},
		"route":      {func(w *State) { w.Routes[0].Src = netip.Addr{} }, []string{"route 10.2.0.0/24 via 169.254.0.2 dev vx is missing"}},
		"now behind": {func(w *State) { w.Routes[2] = Route{Dst: w.Routes[2].Dst, Via: addr("169.254.0.2"), Dev: "vx"} },
			[]string{"route 10.3.0.3/32 via 169.254.0.2 dev vx is missing"}},
		"rule": {func(w *State) { w.Rules[0].Mark = 6 }, []string{"routing rule for mark 0x6 is missing", "routing rule for mark 0x5 is unwanted"}},
		"MTU":  {func(w *State) { w.Links[1].MTU = 1300 }, []string{"link br has MTU 1400, not 1300"}},
		"address": {func(w *State) { w.Addrs[1].Prefix = prefix("fd01::2/64") },
			[]string{"address fd01::2/64 on br is missing", "address fd01::1/64 on br is unwanted"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := space(t)
			want, scope := example()
			s.differences(t, want, scope, true)
			tc.change(&want)
			got := s.differences(t, want, scope, true)
			if diff := cmp.Diff(tc.says, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if lines := s.differences(t, want, scope, false); len(lines) > 0 {
				t.Errorf("after the repair: %s", strings.Join(lines, "\n"))
			}
		})
	}
}

// A tunnel with other fixed properties is made anew, and all that hung on it.
func TestTunnelIsMadeAnew(t *testing.T) {
	s := space(t)
	want, scope := example()
	s.differences(t, want, scope, true)
	want.Links[2].VXLAN.Local = addr("192.0.2.7")
	if lines := s.differences(t, want, scope, true); lines[0] != "link vx is not the wanted vxlan" || !slices.Contains(lines, "forwarding entry 02:00:00:00:00:02 on vx is missing") {
		t.Errorf("%v", lines)
	}
	if lines := s.differences(t, want, scope, false); len(lines) > 0 {
		t.Errorf("after the repair: %v", lines)
	}
}

// What others made is not ours: their routes, rules, links and what is on them; nor what Keep says.
func TestLeavesOthersAlone(t *testing.T) {
	s := space(t)
	must(t, s.H.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other"}}))
	other, err := s.H.LinkByName("other")
	must(t, err)
	must(t, s.H.LinkSetUp(other))
	a, _ := netlink.ParseAddr("10.9.0.1/24")
	must(t, s.H.AddrAdd(other, a))
	must(t, s.H.RouteAdd(&netlink.Route{Dst: ipNet(prefix("10.8.0.0/24")), LinkIndex: other.Attrs().Index}))
	must(t, s.H.RouteAdd(&netlink.Route{Dst: ipNet(prefix("10.7.0.0/24")), LinkIndex: other.Attrs().Index, Protocol: Protocol}))
	must(t, s.H.NeighAdd(&netlink.Neigh{LinkIndex: other.Attrs().Index, IP: a.IP, State: netlink.NUD_PERMANENT, HardwareAddr: mac("02:00:00:00:00:05")}))
	must(t, s.H.RuleAdd(newRule(Rule{Priority: 701, Mark: 5, Table: 99})))
	scope := Scope{Devices: map[string]bool{}, RulePriority: 700, Keep: func(dev string) bool { return dev == "other" }}
	if lines := s.differences(t, State{}, scope, false); len(lines) > 0 {
		t.Errorf("unwanted: %v", lines)
	}
	scope.Keep = nil
	if got := fmt.Sprint(s.differences(t, State{}, scope, true)); got != "[route 10.7.0.0/24 dev other is unwanted]" {
		t.Errorf("without Keep: %s", got)
	}
}

func TestEnsure(t *testing.T) {
	s := space(t)
	want, scope := example()
	must(t, Apply(func() []Op { ops, err := s.DiffLinks(want.Links); must(t, err); return ops }()))
	for range 2 { // again changes nothing
		must(t, s.Ensure(want))
	}
	want.Links = nil
	lines := s.differences(t, want, scope, false)
	if got := fmt.Sprint(lines); got != "[routing rule for mark 0x5 is missing routing rule for mark 0x5 is missing]" {
		t.Errorf("left out by Ensure: %s, want the rules only", got)
	}
	for _, st := range []State{{Addrs: []Addr{{"none", prefix("10.0.0.1/32")}}}, {Routes: []Route{{Dst: prefix("10.0.0.1/32"), Dev: "none"}}}} {
		if err := s.Ensure(st); err == nil {
			t.Errorf("%+v: done on a link that is not there", st)
		}
	}
}
