//go:build linux

package overlay

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/overlay/netns"
)

// picture is all that a namespace holds, in the words of iproute2 and nft.
func (p *place) picture(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	must(t, p.ns.Do(func() error {
		for _, c := range []string{"ip -d link", "ip -o addr", "ip -4 route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule",
			"ip neigh show nud permanent", "bridge fdb", "nft list ruleset"} {
			cmd := exec.Command("sh", "-c", c)
			var complaints bytes.Buffer // ip complains of namespaces of others that are removed while it looks
			cmd.Stderr = &complaints
			b, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w: %s", c, err, &complaints)
			}
			fmt.Fprintf(&out, "# %s\n%s", c, b)
		}
		return nil
	}))
	// What the kernel counts or orders as it likes.
	s := regexp.MustCompile(`(?m)(expires \d+sec| ?proto ra.*$|ra_mtu \d+|gc_timer +[\d.]+|hello_timer +[\d.]+|tcn_timer +[\d.]+|topology_change_timer +[\d.]+)`).ReplaceAllString(out.String(), "")
	// A new link becomes that by itself, some time later.
	return strings.NewReplacer("state UNKNOWN", "state UP", "state DOWN", "state UP", "NO-CARRIER,", "").Replace(s)
}

// needNFT: these tests damage and describe tables from outside our own code.
func needNFT(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("SKIPPED: nft is not installed (Debian: apt-get install nftables)")
	}
}

func (l *lab) sandboxPlace(h *labHost, network string) *place {
	l.t.Helper()
	ns, err := netns.Open(filepath.Join(h.cfg.RunDir, "overlay", network))
	must(l.t, err)
	l.t.Cleanup(func() { ns.Close() })
	handle, err := netlink.NewHandleAt(handleOf(ns), unix.NETLINK_ROUTE)
	must(l.t, err)
	l.t.Cleanup(handle.Close)
	return &place{t: l.t, name: h.name + "/" + network, ns: ns, h: handle}
}

// A daemon that starts again finds everything as it should be, whatever it has been told already.
func TestRestartChangesNothing(t *testing.T) {
	needNFT(t)
	l, a, b := two(t, false)
	h := l.hosts[0]
	l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
	places := []*place{h.place, l.sandboxPlace(h, "app"), a.place}
	var before []string
	for _, p := range places {
		before = append(before, p.picture(t))
	}
	same := func(when string) {
		t.Helper()
		for i, p := range places {
			if diff := cmp.Diff(before[i], p.picture(t)); diff != "" {
				t.Errorf("%s: %s changed (-before +after):\n%s", when, p.name, diff)
			}
		}
	}
	flow := flowTo(t, b.place, "tcp", "10.10.0.11", "a")
	l.stop(h)
	same("stopped")
	l.anew(h)
	must(t, h.o.reconcile(true, true))
	same("before the containers are named")
	l.attach(a)
	must(t, h.o.reconcile(true, true))
	same("after the containers are named")
	must(t, answeredBy(flow, "a"))
	l.restart(h)
	l.settle()
	same("running")
}

// anew puts a fresh Overlay in the place of a host's, as a daemon that starts does.
func (l *lab) anew(h *labHost) {
	l.t.Helper()
	var err error
	h.o.Close()
	h.o, err = New(h.cfg)
	must(l.t, err)
	l.tellOne(h)
}

// restart runs the Overlay that a host has.
func (l *lab) restart(h *labHost) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan error, 1)
	go func() { h.done <- h.o.Run(ctx) }()
}

func (p *place) sh(command string) {
	p.t.Helper()
	must(p.t, p.ns.Do(func() error {
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
		return nil
	}))
}

// What a container has made of its interfaces may be in the way of a new daemon, who leaves what works.
func TestAttachThatFailsTakesNothingAway(t *testing.T) {
	l, a, b := two(t, false)
	h := l.hosts[0]
	l.stop(h)
	l.anew(h)
	a.sh("ip link del eth1; ip link add eth1 type bridge")
	err := h.o.Attach(t.Context(), a.a)
	if err == nil || !strings.Contains(err.Error(), "eth1 of kind bridge") {
		t.Fatalf("got %v", err)
	}
	h.o.Adopt([]string{"a"})
	l.restart(h)
	l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
	a.sh("ip link del eth1")
	l.settle()
	l.wants(l.client, "tcp", "192.168.77.1:8080", "a 192.168.77.100")
}

func TestRepairsDamage(t *testing.T) {
	needNFT(t)
	l, a, b := two(t, false)
	l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
	h := l.hosts[0]
	box := l.sandboxPlace(h, "app")
	veth, port := linkName(vethPrefix, "a"), linkName(portPrefix, "a")
	for name, damage := range map[string]struct {
		where *place
		do    string
		says  string
	}{
		"remote route":    {box, "ip route del 10.10.0.12/32", "network app: route 10.10.0.12/32 via 169.254.0.2 dev shvx is missing"},
		"local route":     {box, "ip -6 route del fd10::b/128", "network app: route fd10::b/128 dev " + veth + " is missing"},
		"forwarding":      {box, "bridge fdb del 02:53:4e:00:00:02 dev shvx", "network app: forwarding entry 02:53:4e:00:00:02 on shvx is missing"},
		"neighbour":       {box, "ip neigh del 169.254.0.2 dev shvx", "network app: neighbour 169.254.0.2 on shvx is missing"},
		"gateway address": {box, "ip addr del 10.10.0.1/32 dev lo", "network app: address 10.10.0.1/32 on lo is missing"},
		"tunnel":          {box, "ip link del shvx", "network app: link shvx is missing"},
		"tunnel down":     {box, "ip link set shvx down", "network app: link shvx is down"},
		"rules":           {box, "nft delete table inet shoal", "network app: nft table inet shoal is missing"},
		"one element":     {box, "nft delete element inet shoal vip4 '{ 10.10.0.2 }'", "network app: nft element 10.10.0.2 in vip4 is missing or leads elsewhere"},
		"forward off":     {box, "sysctl -qw net.ipv4.ip_forward=0", "network app: setting net/ipv4/ip_forward is not 1"},
		"container link":  {box, "ip link del " + veth, "network app: link " + veth + " of container a is missing"},
		"gateway link":    {h.place, "ip link del " + port, "host: link " + port + " of container a is missing"},
		"mesh":            {h.place, "ip link del shmesh", "host: link shmesh is missing"},
		"bridge":          {h.place, "ip link del shoal0", "host: link shoal0 is missing"},
		"rule":            {h.place, "ip rule del pref 21320", "host: routing rule for mark 0x53480002 is missing"},
		"ingress":         {h.place, "nft flush chain inet shoal prerouting", "host: nft chain prerouting has 0 rules, not 2"},
		"inside":          {a.place, "ip route flush dev eth0", "container a: route 10.10.0.0/24 via 10.10.0.1 dev eth0 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			l.stop(h)
			damage.where.sh(damage.do)
			lines, err := h.o.Check(context.Background())
			must(t, err)
			if !strings.Contains(strings.Join(lines, "\n")+"\n", damage.says+"\n") {
				t.Errorf("check says:\n%s\nwant a line:\n%s", strings.Join(lines, "\n"), damage.says)
			}
			l.restart(h)
			l.settle()
			l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
			l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[1], 80), "b fd10::b")
			if _, err := l.client.ask("tcp", "192.168.77.1:8080"); err != nil {
				t.Errorf("ingress after repair: %v", err)
			}
		})
	}
}

// The log names the firewall that is in the way.
func TestForeignFirewall(t *testing.T) {
	needNFT(t)
	l, _, _ := two(t, false)
	h := l.hosts[0]
	l.stop(h)
	var log bytes.Buffer
	h.o.log = slog.New(slog.NewTextHandler(&log, nil))
	must(t, h.ns.Do(func() error {
		return exec.Command("sh", "-c", "nft add table ip filter && nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'"+
			" && nft add chain ip filter INPUT '{ type filter hook input priority 0; policy drop; }' && nft add rule ip filter INPUT accept").Run()
	}))
	told := h.o.warn(nil)
	if got := fmt.Sprint(h.o.warn(told)); got != "[chain FORWARD of table ip filter]" || strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("told of %s, logged:\n%s", got, log.String())
	}
	must(t, h.ns.Do(func() error {
		return exec.Command("sh", "-c", "nft add rule ip filter FORWARD iifname 'sh*' accept && nft add rule ip filter FORWARD oifname 'sh*' accept").Run()
	}))
	l.wants(l.client, "tcp", "192.168.77.1:8080", "a 192.168.77.100") // what the line says helps
}

// What is not ours stays; of ours nothing does.
func TestCleanupLeavesNothing(t *testing.T) {
	needNFT(t)
	l := newLab(t, 2, false)
	h := l.hosts[0]
	must(t, h.ns.Do(func() error {
		return exec.Command("sh", "-c", "nft add table inet other && nft add chain inet other c '{ type filter hook forward priority 0; }' && ip route add 10.99.0.0/16 dev eth0 && ip rule add pref 21321 fwmark 0x7 lookup 77 && sysctl -qw net.ipv6.conf.all.forwarding=1").Run()
	}))
	before := h.picture(t)
	for _, h := range l.hosts {
		l.start(h)
	}
	l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
	a := l.container(h, "a", "", 11, "app")
	b := l.container(l.hosts[1], "b", "", 12, "app")
	b.serve(80)
	l.settle()
	l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
	if before == h.picture(t) {
		t.Fatal("the picture shows nothing")
	}
	l.stop(h)
	fresh, err := New(h.cfg) // as after a crash: it knows nothing but names
	must(t, err)
	must(t, fresh.Cleanup(context.Background()))
	if diff := cmp.Diff(before, h.picture(t)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(h.cfg.RunDir, "overlay*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if links, _ := a.h.LinkList(); len(links) != 1 {
		t.Errorf("the container keeps %d links, want lo only", len(links))
	}
}

// Whatever point a daemon dies at, the next one finishes the work.
func TestDiesInTheMiddle(t *testing.T) {
	l, a, b := two(t, false)
	h := l.hosts[0]
	for name, leave := range map[string]string{
		"pair made, nothing in it": "for a in $(ip -o -4 addr show dev eth0 | awk '{print $4}'); do ip addr del $a dev eth0; done; ip link set eth0 down",
		"one pair of two":          "ip link del eth1",
		"nothing":                  "ip link del eth0; ip link del eth1",
	} {
		t.Run(name, func(t *testing.T) {
			l.stop(h)
			must(t, a.ns.Do(func() error { return exec.Command("sh", "-c", leave).Run() }))
			l.anew(h)
			l.restart(h)
			l.attach(a)
			l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
			l.wants(l.client, "tcp", "192.168.77.1:8080", "a 192.168.77.100")
			l.settle()
		})
	}
	t.Run("sandbox gone under the container", func(t *testing.T) {
		l.stop(h)
		must(t, netns.Remove(h.o.SandboxPath("app")))
		l.anew(h)
		l.attach(a)
		l.restart(h)
		l.wants(a.place, "tcp", at(b.a.Networks[0].Addrs[0], 80), "b 10.10.0.11")
		l.settle()
	})
}

func TestDetachAndNetworkRemoval(t *testing.T) {
	l, a, b := two(t, false)
	h := l.hosts[0]
	before := len(l.linksOf(h.place))
	must(t, h.o.Detach(context.Background(), "a"))
	must(t, h.o.Detach(context.Background(), "a")) // again is no error
	if links := l.linksOf(a.place); len(links) != 1 {
		t.Errorf("the detached container has links %v", links)
	}
	if got := len(l.linksOf(h.place)); got != before-1 {
		t.Errorf("the host has %d links, want %d", got, before-1)
	}
	l.settle()
	must(t, l.hosts[1].o.Detach(context.Background(), "b"))
	l.model.Networks, l.model.Endpoints, l.model.Services = nil, nil, nil
	l.tell()
	l.eventually("sandboxes go", func() error {
		for _, h := range l.hosts {
			if left, _ := filepath.Glob(filepath.Join(h.cfg.RunDir, "overlay", "*")); len(left) > 0 {
				return fmt.Errorf("left: %v", left)
			}
			if s := h.o.Sandboxes(); len(s) != 1 || s[0].NetworkID != "" {
				return fmt.Errorf("sandboxes: %v", s)
			}
		}
		return nil
	})
	_ = b
}

func (l *lab) linksOf(p *place) []string {
	l.t.Helper()
	links, err := p.h.LinkList()
	must(l.t, err)
	var names []string
	for _, x := range links {
		names = append(names, x.Attrs().Name)
	}
	return names
}
