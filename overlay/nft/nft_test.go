//go:build linux

package nft

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/shoal-dev/shoal/overlay/netns"
)

func space(t testing.TB) *netns.NS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	path := filepath.Join(t.TempDir(), "ns")
	if err := netns.Create(path); err != nil {
		t.Fatal(err)
	}
	ns, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close(); netns.Remove(path) })
	return ns
}

// services is a table with n balanced addresses of b backends each.
func services(n, b int) Table {
	vips := Set{Name: "vip4", Key: KeyV4, Data: Verdict}
	var content []Chain
	for i := range n {
		var backends []netip.Addr
		for j := range b {
			backends = append(backends, netip.AddrFrom4([4]byte{10, byte(j >> 8), byte(i), byte(j)}))
		}
		c := ContentChain("vip", fmt.Sprint(i), Rule{DNAT(backends, 0)})
		content = append(content, c)
		vips.Elements = append(vips.Elements, Element{Key: AddrKey(netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)})), Chain: c.Name})
	}
	hook := &Hook{Type: nftables.ChainTypeNAT, Hook: nftables.ChainHookPrerouting, Priority: -100}
	return Table{Sets: []Set{vips}, Content: content,
		Chains: []Chain{{Name: "prerouting", Hook: hook, Rules: []Rule{{DestinationMap(false, "vip4")}}}}}
}

func apply(t testing.TB, k Kernel, want Table) *Plan {
	t.Helper()
	p, err := k.Compare(want, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	again, err := k.Compare(want, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Lines) > 0 {
		t.Fatalf("after applying, still: %s", strings.Join(again.Lines, "\n"))
	}
	return p
}

func TestChangesAreSmall(t *testing.T) {
	k := Kernel{NetNS: space(t).FD()}
	apply(t, k, services(20, 3))
	next := services(20, 3)
	c := ContentChain("vip", "7", Rule{DNAT([]netip.Addr{netip.MustParseAddr("10.9.9.9")}, 0)})
	next.Content[7] = c
	next.Sets[0].Elements[7].Chain = c.Name
	p := apply(t, k, next)
	if p.whole || len(p.addChains) != 1 || len(p.delChains) != 1 || len(p.addElem["vip4"]) != 1 {
		t.Errorf("one service changed: %s", strings.Join(p.Lines, "\n"))
	}
	if p := apply(t, k, services(5, 3)); p.whole || !p.Removes() {
		t.Errorf("removal: whole %v, removes %v", p.whole, p.Removes())
	}
	if err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if exists, err := k.Exists(); err != nil || exists {
		t.Errorf("after removal: exists %v, %v", exists, err)
	}
}

// A thousand services, and a service of a thousand backends, fit through the socket.
func TestManyServices(t *testing.T) {
	k := Kernel{NetNS: space(t).FD()}
	start := time.Now()
	apply(t, k, services(1000, 10))
	t.Logf("1,000 services of 10 backends: %s", time.Since(start))
	start = time.Now()
	apply(t, k, services(1001, 10))
	t.Logf("one more: %s", time.Since(start))
	start = time.Now()
	apply(t, k, services(1, MaxBackends))
	t.Logf("replaced by one of %d backends: %s", MaxBackends, time.Since(start))
}

// The text of a rule is what nft would have loaded.
func TestTextIsValid(t *testing.T) {
	ns := space(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed")
	}
	text := strings.ReplaceAll(services(3, 2).String(), "inet shoal", "inet other")
	if err := ns.Do(func() error {
		c := exec.Command("nft", "-f", "-")
		c.Stdin = strings.NewReader(text)
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}); err != nil {
		t.Errorf("%v in:\n%s", err, text)
	}
}
