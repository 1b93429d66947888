//go:build linux

package engine

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestConnect(t *testing.T) {
	l := openLab(t)
	for _, n := range []*api.LocalNetwork{
		{Name: "one", Ipam: []*api.IPAMConfig{{Subnet: "10.61.0.0/24"}}}, {Name: "two", Ipv6: true}, {Name: "closed", Internal: true},
	} {
		l.network(n)
	}
	l.run(on("peer", at("one"), at("two"), at("closed")))
	c := l.run(on("cc", at(NetworkBridge)))
	connect := func(w *api.LocalNetworkAttachment) {
		t.Helper()
		if err := l.Connect(l.ctx(), c, w); err != nil {
			t.Fatal(err)
		}
		l.wantInside(c)
	}
	leave := func(name string) {
		t.Helper()
		if err := l.Disconnect(l.ctx(), c, name, false); err != nil {
			t.Fatal(err)
		}
		l.wantInside(c)
	}
	out := func() string { return l.exec(c, "ip route | grep ^default; true") }

	began := time.Now()
	before := l.exec(c, "ip -o link show eth0")
	connect(&api.LocalNetworkAttachment{Network: "one", Ip: "10.61.0.9", Aliases: []string{"nine"}, LinkLocalIps: []string{"169.254.7.7", "fe80::77"}})
	if got := l.exec(c, "ip -o link show eth0"); got != before {
		t.Errorf("the interface that was there is another one: %s, %s", before, got)
	}
	if got := l.exec(c, "ip -o addr show eth1"); !strings.Contains(got, "10.61.0.9/24") || !strings.Contains(got, "169.254.7.7/16") || !strings.Contains(got, "fe80::77/64") {
		t.Errorf("eth1: %s", got)
	}
	if got := l.resolve("peer", "nine"); got != "10.61.0.9" {
		t.Errorf("its alias: %q", got)
	}
	if got, want := l.resolve(c, "peer"), l.v4("peer", "one"); got != want {
		t.Errorf("a container that gets names while it runs asks for peer: %q, want %q (%s)", got, want, l.exec(c, "cat /etc/resolv.conf"))
	}
	if got := l.exec(c, "cat /etc/hosts"); !strings.Contains(got, "10.61.0.9\t"+c[:12]) || strings.Contains(got, "169.254") {
		t.Errorf("/etc/hosts: %s", got)
	}
	gateway := out()
	leave(NetworkBridge)
	if got := out(); got == gateway || !strings.Contains(got, "via 10.61.0.1 dev eth1") {
		t.Errorf("way out after the first network is gone: %q", got)
	}
	connect(&api.LocalNetworkAttachment{Network: "closed"})
	connect(&api.LocalNetworkAttachment{Network: "two"})
	leave("one")
	if got := out(); !strings.Contains(got, "via "+l.gateway("two")) {
		t.Errorf("way out past an internal network: %q", got)
	}
	l.reopen()
	l.wantInside(c)
	leave("two")
	if got := out(); got != "" {
		t.Errorf("way out of an internal network: %q", got)
	}
	leave("closed")
	if row := l.row(c); len(row.Networks) != 0 || len(row.Endpoints) != 0 {
		t.Errorf("left on %v", row.Networks)
	}
	l.reopen()
	l.wantInside(c)
	connect(&api.LocalNetworkAttachment{Network: "one"})

	t.Run("tells", func(t *testing.T) {
		var got []string
		err := l.Watch(l.ctx(), began, time.Now(), func(ev *api.Event) error {
			if ev.Type == aboutNetwork {
				got = append(got, ev.Action+" "+ev.Attributes["name"])
			}
			return nil
		})
		want := []string{"connect one"} // a daemon that was started anew has forgotten what was before
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("events %v, %v; want %v", got, err, want)
		}
	})
	t.Run("and again after a stop", func(t *testing.T) {
		if err := l.Kill(l.ctx(), c, "KILL"); err != nil {
			t.Fatal(err)
		}
		l.ended(c)
		if err := l.Connect(l.ctx(), c, &api.LocalNetworkAttachment{Network: "two", Aliases: []string{"again"}}); err != nil {
			t.Fatal(err)
		}
		l.reopen()
		if err := l.Start(l.ctx(), c); err != nil {
			t.Fatal(err)
		}
		l.wantInside(c)
		if got := l.resolve("peer", "again"); got != l.v4(c, "two") {
			t.Errorf("its alias: %q", got)
		}
	})
	t.Run("a file that the container has changed is its own", func(t *testing.T) {
		l.exec(c, "echo 192.0.2.1 mine >> /etc/hosts")
		leave("two")
		if got := l.exec(c, "cat /etc/hosts"); !strings.Contains(got, "mine") {
			t.Errorf("/etc/hosts: %s", got)
		}
	})
}

// wantInside compares the addresses inside a container with its row.
func (l *lab) wantInside(ref string) {
	l.t.Helper()
	row, out := l.row(ref), l.exec(ref, "ip -o addr; ip -o link")
	for _, ep := range row.Endpoints {
		for _, a := range ep.Addresses {
			if !strings.Contains(out, " "+a+" ") {
				l.t.Errorf("address %s of network %s is missing: %s", a, ep.Network, out)
			}
		}
	}
	if n := strings.Count(out, "link/ether"); n != len(row.Endpoints) {
		l.t.Errorf("%d interfaces, want %d: %s", n, len(row.Endpoints), out)
	}
}

func (l *lab) gateway(name string) string {
	l.t.Helper()
	n, err := l.Networks().Get(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return n.Ipam[0].Gateway
}

func TestConnectRefused(t *testing.T) {
	l := openLab(t)
	l.network(&api.LocalNetwork{Name: "one", Ipam: []*api.IPAMConfig{{Subnet: "10.61.0.0/24"}}})
	l.network(&api.LocalNetwork{Name: "closed", Internal: true})
	on1 := l.run(on("on1", at("one")))
	none := l.create(request("none", "true"))
	shared := request("shared", "true")
	shared.NetworkMode = "container:on1"
	l.create(shared)
	plain := l.run(on("plain", at(NetworkBridge)))
	taken := netip.MustParsePrefix(l.row(on1).Endpoints[0].Addresses[0]).Addr().String()
	for _, tc := range []struct {
		ref  string
		w    *api.LocalNetworkAttachment
		kind error
		want string
	}{
		{none, at("one"), ErrPrecondition, "made with --network none"},
		{"shared", at("one"), ErrPrecondition, "made with --network container:"},
		{on1, at("one"), ErrExists, "on network one already"},
		{on1, at("nowhere"), network.ErrNotFound, "nowhere"},
		{on1, at(NetworkHost), network.ErrInvalid, "cannot be combined"},
		{on1, at(NetworkBridge, "x"), network.ErrInvalid, "aliases are for networks of your own"},
		{plain, &api.LocalNetworkAttachment{Network: "one", Ip: taken}, network.ErrInUse, taken},
		{plain, &api.LocalNetworkAttachment{Network: "one", Ip: "10.62.0.1"}, network.ErrInvalid, "10.62.0.1"},
		{plain, &api.LocalNetworkAttachment{Network: "one", LinkLocalIps: []string{"10.0.0.1"}}, network.ErrInvalid, "link-local"},
	} {
		if err := l.Connect(l.ctx(), tc.ref, tc.w); !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("connect %s to %v: %v, want %q", tc.ref, tc.w, err, tc.want)
		}
	}
	if row := l.row(plain); len(row.Networks) != 1 || len(row.Endpoints) != 1 {
		t.Errorf("refusals changed the row: %v", row)
	}
	if err := l.Disconnect(l.ctx(), plain, "one", false); !errors.Is(err, ErrPrecondition) || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("disconnect: %v", err)
	}
	if err := l.Disconnect(l.ctx(), plain, "one", true); err != nil {
		t.Errorf("disconnect by force: %v", err)
	}
	r := on("", at("closed"))
	r.Ports = []*api.PortBinding{{ContainerPort: 80, HostPort: 8080}}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); err == nil || !strings.Contains(err.Error(), "ports cannot be published on network closed") {
		t.Errorf("a port on an internal network: %v", err)
	}
}

func TestJoinedNames(t *testing.T) {
	l := openLab(t)
	l.run(request("first", "sleep 1000"))
	for _, spec := range []*api.ContainerSpec{{Hosts: []string{"a:192.0.2.1"}}, {Dns: &api.DNSConfig{Search: []string{"x"}}}} {
		r := request("", "true")
		r.NetworkMode, r.Spec.Hosts, r.Spec.Dns = "container:first", spec.Hosts, spec.Dns
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "as in that container") {
			t.Errorf("%v: %v, want a refusal", spec, err)
		}
	}
}

func TestHostGateway(t *testing.T) {
	l := openLab(t)
	l.network(&api.LocalNetwork{Name: "closed", Internal: true})
	hosts := func(r *api.CreateContainerRequest) string {
		r.Spec.Hosts = []string{"here:host-gateway", "there:2001:db8::1"}
		return l.exec(l.run(r), "cat /etc/hosts")
	}
	for name, tc := range map[string]struct {
		r    *api.CreateContainerRequest
		want string
	}{
		"bridge":   {on("aa", at(NetworkBridge)), l.gateway(NetworkBridge)},
		"internal": {on("bb", at("closed")), l.gateway("closed")},
		"host":     {&api.CreateContainerRequest{NetworkMode: NetworkHost, Spec: request("", "sleep 1000").Spec}, "127.0.0.1"},
	} {
		if got := hosts(tc.r); !strings.Contains(got, tc.want+"\there\n") || !strings.Contains(got, "2001:db8::1\tthere\n") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
