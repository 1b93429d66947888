package ipam

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNextPrefix(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pools []string
		bits  int
		used  []string
		want  string
	}{
		{"first", []string{"10.96.0.0/12"}, 22, nil, "10.96.0.0/22"},
		{"after a used one", []string{"10.96.0.0/12"}, 22, []string{"10.96.0.0/22"}, "10.96.4.0/22"},
		{"gap", []string{"10.96.0.0/12"}, 22, []string{"10.96.0.0/22", "10.96.8.0/22"}, "10.96.4.0/22"},
		{"smaller used", []string{"10.96.0.0/12"}, 22, []string{"10.96.1.0/24"}, "10.96.4.0/22"},
		{"larger used", []string{"10.96.0.0/12"}, 22, []string{"10.96.0.0/16"}, "10.97.0.0/22"},
		{"larger than the pool", []string{"10.96.0.0/12"}, 22, []string{"10.0.0.0/8"}, ""},
		{"next pool", []string{"10.96.0.0/22", "10.1.0.0/22"}, 22, []string{"10.96.0.0/24"}, "10.1.0.0/22"},
		{"default route", []string{"10.96.0.0/12"}, 22, []string{"0.0.0.0/0"}, "10.96.0.0/22"},
		{"end of the address space", []string{"255.255.252.0/22"}, 22, []string{"255.255.255.255/32"}, ""},
		{"other family", []string{"10.96.0.0/12"}, 22, []string{"fd00::/8"}, "10.96.0.0/22"},
		{"v6", []string{"fd01:2:3::/48"}, 64, []string{"fd01:2:3::/64"}, "fd01:2:3:1::/64"},
		{"too small a pool", []string{"10.96.0.0/24"}, 22, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pools, err := ParsePools(tt.pools)
			if err != nil {
				t.Fatal(err)
			}
			used, err := ParsePools(tt.used)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := NextPrefix(pools, tt.bits, used)
			if ok != (tt.want != "") || ok && got.String() != tt.want {
				t.Errorf("got %v %v, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestParsePoolsRefusesHostBits(t *testing.T) {
	_, err := ParsePools([]string{"10.1.2.3/8"})
	want := `address pool "10.1.2.3/8": host bits are set, did you mean 10.0.0.0/8?`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Carving until nothing is left gives disjoint prefixes that avoid what was used, and as
// many as there is room for.
func TestNextPrefixProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := netip.MustParsePrefix("10.96.0.0/20")
		bits := rapid.IntRange(20, 26).Draw(t, "bits")
		var avoid []netip.Prefix
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(95, 97).Draw(t, "b")),
				byte(rapid.IntRange(0, 20).Draw(t, "c")), byte(rapid.IntRange(0, 255).Draw(t, "d"))})
			avoid = append(avoid, netip.PrefixFrom(a, rapid.IntRange(19, 32).Draw(t, "len")).Masked())
		}
		used := append([]netip.Prefix(nil), avoid...)
		got := 0
		for {
			p, ok := NextPrefix([]netip.Prefix{pool}, bits, used)
			if !ok {
				break
			}
			if u, bad := Overlapping(p, used); bad || !pool.Overlaps(p) || p.Bits() != bits {
				t.Fatalf("%v overlaps %v", p, u)
			}
			used = append(used, p)
			got++
		}
		want := 0
		for a := pool.Addr(); pool.Contains(a); a = Last(netip.PrefixFrom(a, bits)).Next() {
			if _, bad := Overlapping(netip.PrefixFrom(a, bits), avoid); !bad {
				want++
			}
		}
		if got != want {
			t.Fatalf("got %d prefixes of /%d avoiding %v, want %d", got, bits, avoid, want)
		}
	})
}

func TestHosts(t *testing.T) {
	h := NewHosts(netip.MustParsePrefix("10.0.0.0/29"), netip.MustParseAddr("10.0.0.1"), netip.Prefix{})
	h.Avoid(netip.MustParseAddr("10.0.0.2"))
	h.Use(netip.MustParseAddr("10.0.0.4"))
	var got []string
	for a, ok := h.Next(); ok; a, ok = h.Next() {
		got = append(got, a.String())
	}
	want := []string{"10.0.0.3", "10.0.0.5", "10.0.0.6", "10.0.0.2"}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestHostsGoRound(t *testing.T) {
	rows := []*api{{"10.0.0.0/29"}, {"fd00::/64"}}
	var last, got []string
	for i := range 7 { // each time all over: nothing is remembered but last
		subnets, err := ParseSubnets(rows, last)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range subnets {
			s.Take(true, "10.0.0.3")
			if a, ok := s.Next(); ok && s.Prefix.Addr().Is4() == (i != 6) {
				got = append(got, a.String())
			}
		}
		last = LastGiven(subnets)
	}
	want := "10.0.0.2 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.2 10.0.0.4 fd00::8"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

type api struct{ subnet string }

func (a *api) GetSubnet() string { return a.subnet }
func (*api) GetGateway() string  { return "" }
func (*api) GetIpRange() string  { return "" }

func TestHostsWithin(t *testing.T) {
	h := NewHosts(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParseAddr("10.0.0.1"), netip.MustParsePrefix("10.0.9.0/30"))
	n := 0
	for a, ok := h.Next(); ok; a, ok = h.Next() {
		if !netip.MustParsePrefix("10.0.9.0/30").Contains(a) {
			t.Errorf("%v is outside the range", a)
		}
		n++
	}
	if n != 4 {
		t.Errorf("got %d addresses, want 4: a range has no network address of its own", n)
	}
}

// Every address is given once, none that was taken, and Capacity counts them.
func TestHostsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := netip.PrefixFrom(netip.MustParseAddr("10.7.0.0"), rapid.IntRange(24, 30).Draw(t, "bits"))
		if rapid.Bool().Draw(t, "v6") {
			subnet = netip.PrefixFrom(netip.MustParseAddr("fd00::"), rapid.IntRange(120, 126).Draw(t, "bits6"))
		}
		h := NewHosts(subnet, First(subnet), netip.Prefix{})
		seen := map[netip.Addr]bool{First(subnet): true, subnet.Addr(): true}
		taken := 0
		for _, n := range rapid.SliceOfDistinct(rapid.IntRange(2, 200), rapid.ID[int]).Draw(t, "used") {
			b := subnet.Addr().AsSlice()
			b[len(b)-1] = byte(n)
			a, _ := netip.AddrFromSlice(b)
			if !subnet.Contains(a) || a.Is4() && a == Last(subnet) {
				continue
			}
			if rapid.Bool().Draw(t, "avoid") {
				h.Avoid(a)
				continue
			}
			h.Use(a)
			seen[a] = true
			taken++
		}
		// The first round goes up from behind the one given last, the second takes what was to be avoided.
		n, descents := 0, 0
		last := subnet.Addr()
		if rapid.Bool().Draw(t, "after") {
			b := last.AsSlice()
			b[len(b)-1] = byte(rapid.IntRange(0, 255).Draw(t, "last"))
			if a, _ := netip.AddrFromSlice(b); subnet.Contains(a) {
				h.After(a)
				last = a
			}
		}
		for a, ok := h.Next(); ok; a, ok = h.Next() {
			if !last.Less(a) {
				descents++
			}
			if last = a; descents > 3 {
				t.Fatalf("%v is no round", a)
			}
			if seen[a] || !subnet.Contains(a) || a.Is4() && a == Last(subnet) {
				t.Fatalf("%v given though it is taken, reserved or foreign", a)
			}
			seen[a] = true
			n++
		}
		if want := Capacity(subnet) - taken; n != want {
			t.Fatalf("%v with %d taken gave %d addresses, want %d", subnet, taken, n, want)
		}
	})
}
