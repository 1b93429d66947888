//go:build linux

package node

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestStateSurvives(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadState(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a state: %v", err)
	}
	want := state{ListenAddr: "10.0.0.1:2377", AdvertiseAddr: "10.0.0.1", DataPathAddr: "10.0.0.1", DataPathPort: 4789, Managers: []string{"10.0.0.2:2377"}}
	check(t, want.save(dir))
	got, err := loadState(dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if fi, err := os.Stat(statePath(dir)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if left, err := markLeaving(dir); err != nil || !left.Leaving || left.AdvertiseAddr != want.AdvertiseAddr {
		t.Errorf("marked: %+v, %v", left, err)
	}
	if again, err := loadState(dir); err != nil || !again.Leaving {
		t.Errorf("the mark was not kept: %+v, %v", again, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(files) != 0 {
		t.Errorf("left %v", files)
	}
}

func TestMarkLeavingWithAndWithoutAState(t *testing.T) {
	dir := t.TempDir()
	if st, err := markLeaving(dir); err != nil || st.Leaving {
		t.Errorf("outside a cluster: %+v, %v", st, err)
	}
	check(t, os.WriteFile(statePath(dir), []byte("{torn"), 0o600))
	if _, err := loadState(dir); err == nil {
		t.Error("a torn state was read")
	}
	if st, err := markLeaving(dir); err != nil || !st.Leaving {
		t.Errorf("a torn state: %+v, %v", st, err)
	}
}

func TestOneDaemonPerDirectory(t *testing.T) {
	first := Config{DataDir: t.TempDir(), RunDir: t.TempDir()}
	unlock, err := prepare(first)
	check(t, err)
	_, err = prepare(first)
	wantError(t, err, "another daemon uses this data directory")
	second := Config{DataDir: t.TempDir(), RunDir: first.RunDir}
	_, err = prepare(second)
	wantError(t, err, "another daemon uses this run directory")
	unlock()
	for _, c := range []Config{first, second} { // also: the refused one holds no lock
		unlock, err := prepare(c)
		check(t, err)
		unlock()
	}
}

func TestRelocate(t *testing.T) {
	at := func(addr, listen string) state {
		return state{ListenAddr: listen, AdvertiseAddr: addr, DataPathAddr: addr, Managers: []string{"10.1.1.1:2377", addr + ":2377"}}
	}
	wish := func(s state, w string) state { s.AdvertiseWish = w; return s }
	for _, tc := range []struct {
		name, flag string
		old, want  state
	}{
		{"nothing changed", "", at("10.90.0.2", "10.90.0.2:2377"), at("10.90.0.2", "10.90.0.2:2377")},
		{"the daemon's flag, listening everywhere", "10.90.0.3", at("192.0.2.1", "0.0.0.0:2377"), at("10.90.0.3", "0.0.0.0:2377")},
		{"the daemon's flag", "10.90.0.3", at("10.90.0.2", "10.90.0.2:2377"), at("10.90.0.3", "10.90.0.3:2377")},
		{"what was asked for at init comes first", "10.90.0.3", wish(at("10.90.0.2", "10.90.0.2:2377"), "10.90.0.2"), wish(at("10.90.0.2", "10.90.0.2:2377"), "10.90.0.2")},
		{"an interface with another address", "", wish(at("192.0.2.1", "192.0.2.1:2377"), "lo"), wish(at("10.90.0.1", "10.90.0.1:2377"), "lo")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := &Node{cfg: Config{AdvertiseAddr: tc.flag}}
			got, err := n.relocate(tc.old)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
	_, err := (&Node{}).relocate(wish(at("192.0.2.1", ""), "192.0.2.1"))
	wantError(t, err, "--advertise-addr 192.0.2.1 is not an address of this host")
	_, err = (&Node{}).relocate(at("192.0.2.1", ""))
	wantError(t, err, "the advertised address 192.0.2.1 is not an address of this host any more and there is no default route")
}

func TestAddressesAsWritten(t *testing.T) {
	for in, want := range map[string]string{"": "10.90.0.2:2377", "0.0.0.0": "0.0.0.0:2377", ":99": "[::]:99", "10.90.0.2:99": "10.90.0.2:99", "::1": "[::1]:2377", "[::1]:99": "[::1]:99"} {
		if got, err := splitListen(in, ip("10.90.0.2"), ClusterPort); err != nil || got.String() != want {
			t.Errorf("splitListen(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{"h": "h:2377", "h:1": "h:1", "10.0.0.1": "10.0.0.1:2377", "::1": "[::1]:2377", "[::1]": "[::1]:2377", "[::1]:9": "[::1]:9"} {
		if got, err := remoteAddr(in); err != nil || got != want {
			t.Errorf("remoteAddr(%q) = %q, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", ":2377", "h:"} {
		if got, err := remoteAddr(bad); err == nil {
			t.Errorf("remoteAddr(%q) = %q", bad, got)
		}
	}
	for _, bad := range []string{"x:1", "10.0.0.1:0", "10.0.0.1:70000", "1:2:3"} {
		if got, err := splitListen(bad, ip("10.90.0.2"), ClusterPort); err == nil && got.Port() != ClusterPort {
			t.Errorf("splitListen(%q) = %v", bad, got)
		}
	}
}

// An address that is found by itself is that of the default route, never one of our own bridges.
func TestDefaultAddress(t *testing.T) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "shoal0"}}
	check(t, netlink.LinkAdd(bridge))
	defer netlink.LinkDel(bridge)
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "uplink"}}
	check(t, netlink.LinkAdd(link))
	defer netlink.LinkDel(link)
	for l, addr := range map[netlink.Link]string{bridge: "10.112.0.1/22", link: "10.91.0.7/24"} {
		a, err := netlink.ParseAddr(addr)
		check(t, err)
		check(t, netlink.AddrAdd(l, a))
		check(t, netlink.LinkSetUp(l))
	}
	old := state{AdvertiseAddr: "192.0.2.9", ListenAddr: "192.0.2.9:2377"}
	if _, err := (&Node{}).relocate(old); err == nil {
		t.Error("moved without a default route")
	}
	check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP("10.91.0.1")}))
	if a, err := defaultAddress("--advertise-addr"); err != nil || a != ip("10.91.0.7") {
		t.Errorf("default address %v, %v", a, err)
	}
	if got, err := (&Node{}).relocate(old); err != nil || got.AdvertiseAddr != "10.91.0.7" || got.ListenAddr != "10.91.0.7:2377" {
		t.Errorf("moved to %+v, %v", got, err)
	}
}
