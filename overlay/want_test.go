//go:build linux

package overlay

import (
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/nft"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example is a small cluster as the second of three nodes sees it.
func example() *view { return exampleView(exampleRows()) }

func exampleRows() *Desired {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	d := &Desired{NodeID: "n2"}
	for i := 1; i <= 3; i++ {
		d.Peers = append(d.Peers, Peer{NodeID: fmt.Sprintf("n%d", i), VTEP: addr(fmt.Sprintf("192.0.2.%d", i)), Number: uint32(i),
			Gateways: []netip.Prefix{prefix(fmt.Sprintf("10.200.%d.0/24", i)), prefix(fmt.Sprintf("fd20:%d::/64", i))}})
	}
	d.Networks = []Network{{ID: "app", Name: "app", VNI: 5001, Subnets: []Subnet{
		{Prefix: prefix("10.10.0.0/24"), Gateway: addr("10.10.0.1")}, {Prefix: prefix("fd10::/64"), Gateway: addr("fd10::1")}}}}
	d.Services = []Service{
		{ID: "web", Name: "web", VIPs: map[string][]netip.Addr{"app": {addr("10.10.0.2"), addr("fd10::2")}},
			Ports: []Port{{Protocol: "tcp", Target: 80, Published: 8080}}},
		{ID: "db", Name: "db", VIPs: map[string][]netip.Addr{"app": {addr("10.10.0.3")}}, Ports: []Port{{Protocol: "udp", Target: 53, Published: 5353}}},
	}
	for i := 1; i <= 3; i++ {
		node, task := fmt.Sprintf("n%d", i), fmt.Sprintf("web%d", i)
		d.Endpoints = append(d.Endpoints,
			Endpoint{NetworkID: "app", TaskID: task, ServiceID: "web", NodeID: node, Ready: true, Addrs: []netip.Addr{addr(fmt.Sprintf("10.10.0.1%d", i)), addr(fmt.Sprintf("fd10::1%d", i))}},
			Endpoint{TaskID: task, ServiceID: "web", NodeID: node, Ready: i != 2, Addrs: []netip.Addr{addr(fmt.Sprintf("10.200.%d.10", i)), addr(fmt.Sprintf("fd20:%d::10", i))}})
	}
	return d
}

func exampleView(d *Desired) *view {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	v := newView(Config{NodeID: "n2", VTEP: addr("192.0.2.2"), Port: 4789}, d, map[string]bool{"n3": true})
	v.mtu, v.looseRPF, v.adopted = 1450, "0", true
	v.claims = []*Attachment{{ID: "web2", Networks: []AttachedNetwork{{"app", []netip.Addr{addr("10.10.0.12"), addr("fd10::12")}}},
		Gateway: []netip.Prefix{prefix("10.200.2.10/24"), prefix("fd20:2::10/64")}, HostPorts: []HostPort{{"tcp", 9090, 90}}}}
	return v
}

func (w *want) text() string {
	var b strings.Builder
	for _, l := range w.state.Links {
		fmt.Fprintf(&b, "link %+v\n", l)
	}
	for _, a := range w.state.Addrs {
		fmt.Fprintf(&b, "address %s dev %s\n", a.Prefix, a.Dev)
	}
	for _, n := range w.state.Neighs {
		fmt.Fprintf(&b, "neighbour %s dev %s is %s\n", n.Addr, n.Dev, n.MAC)
	}
	for _, f := range w.state.FDB {
		fmt.Fprintf(&b, "forward %s dev %s to %s\n", f.MAC, f.Dev, f.VTEP)
	}
	for _, r := range w.state.Routes {
		fmt.Fprintf(&b, "route %s\n", r)
	}
	for _, r := range w.state.Rules {
		fmt.Fprintf(&b, "rule %+v\n", r)
	}
	for _, s := range append(w.before, w.after...) {
		fmt.Fprintf(&b, "setting %s = %s\n", s.Path, s.Value)
	}
	if len(w.table.Chains) > 0 {
		b.WriteString(w.table.String())
	}
	return b.String()
}

func TestWantGolden(t *testing.T) {
	v := example()
	for name, w := range map[string]*want{"host": v.host(), "network": v.network(v.networks["app"]), "container": v.container(v.claims[0])} {
		file := filepath.Join("testdata", name+".golden")
		got := w.text()
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(file, []byte(got), 0o644))
		}
		want, err := os.ReadFile(file)
		must(t, err)
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got; -update writes it anew):\n%s", name, diff)
		}
	}
}

// The kernel takes the tables, finds them equal afterwards, and nft reads our text of them.
func TestTablesLoad(t *testing.T) {
	needRoot(t)
	path := filepath.Join(t.TempDir(), "ns")
	must(t, netns.Create(path))
	defer netns.Remove(path)
	ns, err := netns.Open(path)
	must(t, err)
	defer ns.Close()
	v := example()
	for name, w := range map[string]*want{"host": v.host(), "network": v.network(v.networks["app"])} {
		k := nft.Kernel{NetNS: ns.FD()}
		p, err := k.Compare(w.table, false)
		must(t, err)
		must(t, p.Apply())
		p, err = k.Compare(w.table, false)
		must(t, err)
		if len(p.Lines) > 0 {
			t.Errorf("%s: after loading: %v", name, p.Lines)
		}
		if _, err := exec.LookPath("nft"); err != nil {
			continue
		}
		must(t, ns.Do(func() error {
			c := exec.Command("nft", "-c", "-f", "-")
			c.Stdin = strings.NewReader(strings.Replace(w.table.String(), "inet shoal", "inet other", 1))
			if out, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", name, err, out)
			}
			return nil
		}))
	}
}

func TestBackends(t *testing.T) {
	v := example()
	v.down = map[string]bool{"n3": true}
	grouped := v.byService("app")["web"]
	if got := fmt.Sprint(v.backends(grouped, false, false)); got != "[10.10.0.11 10.10.0.12]" {
		t.Errorf("n3 suspected: %s", got)
	}
	if got := fmt.Sprint(v.backends(grouped, false, true)); got != "[10.10.0.12]" {
		t.Errorf("local preferred: %s", got)
	}
	v.down = map[string]bool{"n1": true, "n2": true, "n3": true}
	if got := v.backends(grouped, true, false); len(got) != 3 {
		t.Errorf("all suspected: %v, want all to stay", got)
	}
	var many []Endpoint
	for i := range 3000 {
		many = append(many, Endpoint{Ready: true, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}})
	}
	first := v.backends(many, false, false)
	v.cfg.NodeID = "n9"
	second := v.backends(many, false, false)
	if len(first) != nft.MaxBackends || cmp.Equal(fmt.Sprint(first), fmt.Sprint(second)) {
		t.Errorf("%d backends of 3000, want %d and another part on each node", len(first), nft.MaxBackends)
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no address": {NodeID: "n", RunDir: "/x"},
		"loopback":   {NodeID: "n", RunDir: "/x", VTEP: netip.MustParseAddr("127.0.0.1")},
		"no node":    {RunDir: "/x", VTEP: netip.MustParseAddr("192.0.2.1")},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	d := &Desired{
		Networks: []Network{{ID: "a", Name: "a", VNI: MeshVNI}, {ID: "b", Name: "b"}},
		Peers: []Peer{{NodeID: "n2", VTEP: netip.MustParseAddr("fd00::2"), Number: 2}, {NodeID: "n3", VTEP: netip.MustParseAddr("192.0.2.3")},
			{NodeID: "n4", VTEP: netip.MustParseAddr("192.0.2.4"), Number: maxNumber + 1}},
	}
	prefix := netip.MustParsePrefix("10.1.0.0/24")
	d.Networks = append(d.Networks, Network{ID: "c", Name: "c", VNI: 9, Subnets: []Subnet{
		{Prefix: prefix}, {Prefix: prefix, Gateway: netip.MustParseAddr("10.1.0.1")}, {Prefix: prefix, Gateway: netip.MustParseAddr("10.1.0.9")}}})
	v := newView(Config{NodeID: "n1", VTEP: netip.MustParseAddr("192.0.2.1"), Logger: slog.Default()}, d, nil)
	if len(v.problems) != 6 || len(v.networks) != 1 || len(v.networks["c"].Subnets) != 1 || len(v.peers) != 0 {
		t.Errorf("problems: %q, networks %v, peers %v", v.problems, v.networks, v.peers)
	}
}

// The order in which rows come says nothing: what is wanted stays the same, and so nothing is looked at again.
func TestOrderOfRowsDoesNotMatter(t *testing.T) {
	d := exampleRows()
	before := exampleView(d)
	host, network := before.host().digest(), before.network(before.networks["app"]).digest()
	slices.Reverse(d.Endpoints)
	slices.Reverse(d.Services)
	slices.Reverse(d.Peers)
	after := exampleView(d)
	if after.host().digest() != host || after.network(after.networks["app"]).digest() != network {
		t.Error("another order of rows is another want")
	}
}
