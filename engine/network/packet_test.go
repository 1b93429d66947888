//go:build linux

package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
	"github.com/shoal-dev/shoal/proto/api"
)

// space is a network namespace made by a test.
type space struct {
	t    testing.TB
	path string
	ns   netns.NsHandle
	nl   *netlink.Handle
}

func newSpace(t testing.TB, name string) *space {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	s := &space{t: t, path: filepath.Join(t.TempDir(), name)}
	if err := os.WriteFile(s.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := thread.Spend(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", s.path, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(s.path, unix.MNT_DETACH) })
	if s.ns, err = netns.GetFromPath(s.path); err != nil {
		t.Fatal(err)
	}
	if s.nl, err = netlink.NewHandleAt(s.ns, unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.nl.Close(); s.ns.Close() })
	lo, err := s.nl.LinkByName("lo")
	if err == nil {
		err = s.nl.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// do runs f in the namespace.
func (s *space) do(f func() error) error {
	m := &Manager{ns: s.ns}
	return m.inNS(f)
}

// connectTo joins two namespaces with a link.
func (s *space) connectTo(other *space, here, there string) {
	s.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	err := s.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "up0", PeerNamespace: netlink.NsFd(other.ns)})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, end := range []struct {
		s     *space
		addrs string
	}{{s, here}, {other, there}} {
		l, err := end.s.nl.LinkByName("up0")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range strings.Fields(end.addrs) {
			if err := addAddr(end.s.nl, l, netip.MustParsePrefix(a)); err != nil {
				s.t.Fatal(err)
			}
		}
		if err := end.s.nl.LinkSetUp(l); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *space) route(to, via string) {
	s.t.Helper()
	p := netip.MustParsePrefix(to)
	dst := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	if err := s.nl.RouteAdd(&netlink.Route{Dst: dst, Gw: netip.MustParseAddr(via).AsSlice()}); err != nil {
		s.t.Fatal(err)
	}
}

// serve answers every connection to a port with NAME and the address it came from.
func (s *space) serve(name string, port int) {
	s.t.Helper()
	var l net.Listener
	var u net.PacketConn
	err := s.do(func() (err error) {
		if l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			u, err = net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprintf(c, "%s %s\n", name, host)
			c.Close()
		}
	}()
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			u.WriteTo([]byte(name+"\n"), from)
		}
	}()
}

// patient is how long an answer is waited for that has to come.
const patient = time.Minute

// ask connects and returns the answer.
func (s *space) ask(network, addr string, patience time.Duration) (string, error) {
	var c net.Conn
	err := s.do(func() (err error) {
		c, err = net.DialTimeout(network, addr, patience)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if network == "udp" {
		if answer := say(c, patience); answer != "" {
			return answer, nil
		}
		return "", os.ErrDeadlineExceeded
	}
	c.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func (s *space) wantAnswer(network, addr, want string) {
	s.t.Helper()
	got, err := s.ask(network, addr, patient)
	if err != nil || !strings.HasPrefix(got, want) {
		s.t.Errorf("%s %s: got %q, %v; want %q", network, addr, got, err, want)
	}
}

func (s *space) wantNoAnswer(network, addr string) {
	s.t.Helper()
	if got, err := s.ask(network, addr, 200*time.Millisecond); err == nil {
		s.t.Errorf("%s %s: got %q, want no answer", network, addr, got)
	}
}

// lab is a host with a Manager, and a machine outside.
type lab struct {
	t             testing.TB
	host, outside *space
	m             *Manager
	rows          map[string]Attachment
}

const (
	hostAddr4, outsideAddr4 = "192.0.2.1", "192.0.2.2"
	hostAddr6, outsideAddr6 = "2001:db8::1", "2001:db8::2"
)

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, host: newSpace(t, "host"), outside: newSpace(t, "outside"), rows: map[string]Attachment{}}
	l.host.connectTo(l.outside, hostAddr4+"/24 "+hostAddr6+"/64", outsideAddr4+"/24 "+outsideAddr6+"/64")
	l.host.route("0.0.0.0/0", outsideAddr4)
	l.m = l.open(t.TempDir())
	return l
}

func (l *lab) open(dir string) *Manager {
	l.t.Helper()
	m, err := New(Config{Dir: dir, NetNS: l.host.path})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(m.Close)
	return m
}

// run attaches a container and serves on its port 80.
func (l *lab) run(name string, networks []string, ports ...*api.PortBinding) *space {
	l.t.Helper()
	s := newSpace(l.t, name)
	if err := l.try(name, s.path, networks, ports...); err != nil {
		l.t.Fatal(err)
	}
	s.serve(name, 80)
	return s
}

func (l *lab) try(name, path string, networks []string, ports ...*api.PortBinding) error {
	var want []*api.LocalNetworkAttachment
	for _, n := range networks {
		want = append(want, &api.LocalNetworkAttachment{Network: n})
	}
	var used []*api.NetworkEndpoint
	for _, a := range l.rows {
		used = append(used, a.Endpoints...)
	}
	eps, err := l.m.Allocate(used, want)
	if err != nil {
		return err
	}
	bound, err := l.m.Reserve(context.Background(), name, eps, ports)
	if err != nil {
		return err
	}
	a := Attachment{Container: name, Name: name, NetNS: path, Endpoints: eps, Ports: bound}
	l.rows[name] = a
	return l.m.Attach(context.Background(), a)
}

func (l *lab) stop(name string) {
	l.t.Helper()
	if err := l.m.Detach(context.Background(), name); err != nil {
		l.t.Fatal(err)
	}
	delete(l.rows, name)
}

func (l *lab) address(name string, i int) string {
	return netip.MustParsePrefix(l.rows[name].Endpoints[0].Addresses[i]).Addr().String()
}

// links lists what a host has besides its own two.
func (l *lab) links() []string {
	l.t.Helper()
	links, err := l.host.nl.LinkList()
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, link := range links {
		if n := link.Attrs().Name; n != "lo" && n != "up0" {
			out = append(out, n)
		}
	}
	return out
}

func (l *lab) wantNothingLeft() {
	l.t.Helper()
	var all []Attachment
	for _, a := range l.rows {
		all = append(all, a)
	}
	if err := l.m.Reconcile(context.Background(), func() []Attachment { return all }); err != nil {
		l.t.Error(err)
	}
	if left := l.links(); len(left) > 0 {
		l.t.Errorf("links left: %v", left)
	}
	if present, err := l.m.tablePresent(); err != nil || present {
		l.t.Errorf("rules left: %v, %v", present, err)
	}
	if len(l.m.holds) > 0 {
		l.t.Errorf("ports left: %v", l.m.holds)
	}
}

func port(host, container uint32) *api.PortBinding {
	return &api.PortBinding{HostPort: host, ContainerPort: container}
}

func at6(addr, port string) string { return net.JoinHostPort(addr, port) }

func TestPackets(t *testing.T) {
	l := newLab(t)
	for _, n := range []*api.LocalNetwork{{Name: "front", Ipv6: true}, {Name: "back", Internal: true, Ipv6: true}} {
		if _, err := l.m.Create(context.Background(), n); err != nil {
			t.Fatal(err)
		}
	}
	web := l.run("web", []string{Bridge}, port(8080, 80), &api.PortBinding{Protocol: "udp", HostPort: 8080, ContainerPort: 80},
		&api.PortBinding{HostIp: hostAddr4, HostPort: 8081, ContainerPort: 80}, &api.PortBinding{HostIp: "127.0.0.1", HostPort: 8082, ContainerPort: 80})
	other := l.run("other", []string{Bridge})
	front := l.run("front", []string{"front"})
	back := l.run("back", []string{"back"})
	both := l.run("both", []string{"front", "back"}, port(8090, 80))
	l.outside.serve("outside", 80)
	l.outside.route("172.16.0.0/12", hostAddr4)
	// By hand, what a route advertisement would do.
	for _, a := range []string{l.address("web", 1), l.address("front", 1)} {
		p, _ := netip.MustParseAddr(a).Prefix(64)
		l.outside.route(p.String(), hostAddr6)
	}

	t.Run("published port from outside keeps the client's address", func(t *testing.T) {
		l.outside.wantAnswer("tcp", hostAddr4+":8080", "web "+outsideAddr4)
		l.outside.wantAnswer("tcp", at6(hostAddr6, "8080"), "web "+outsideAddr6)
		l.outside.wantAnswer("udp", hostAddr4+":8080", "web")
		l.outside.wantAnswer("udp", at6(hostAddr6, "8080"), "web")
		l.outside.wantAnswer("tcp", hostAddr4+":8090", "both")
	})
	t.Run("published on one address", func(t *testing.T) {
		l.outside.wantAnswer("tcp", hostAddr4+":8081", "web")
		l.host.wantNoAnswer("tcp", "127.0.0.1:8081")
		l.host.wantAnswer("tcp", "127.0.0.1:8082", "web")
		l.outside.wantNoAnswer("tcp", hostAddr4+":8082")
	})
	t.Run("published port from the host itself", func(t *testing.T) {
		l.host.wantAnswer("tcp", "127.0.0.1:8080", "web")
		l.host.wantAnswer("udp", "127.0.0.1:8080", "web")
		l.host.wantAnswer("tcp", hostAddr4+":8080", "web")
		l.host.wantAnswer("tcp", "[::1]:8080", "web")
	})
	t.Run("hairpin", func(t *testing.T) {
		web.wantAnswer("tcp", hostAddr4+":8080", "web")
		other.wantAnswer("tcp", hostAddr4+":8080", "web")
		front.wantAnswer("tcp", hostAddr4+":8080", "web")
		front.wantAnswer("tcp", at6(hostAddr6, "8080"), "web")
	})
	t.Run("one bridge", func(t *testing.T) {
		other.wantAnswer("tcp", l.address("web", 0)+":80", "web "+l.address("other", 0))
		other.wantAnswer("tcp", at6(l.address("web", 1), "80"), "web "+l.address("other", 1))
		back.wantAnswer("tcp", netip.MustParsePrefix(l.rows["both"].Endpoints[1].Addresses[0]).Addr().String()+":80", "both")
	})
	t.Run("bridges are closed to one another", func(t *testing.T) {
		front.wantNoAnswer("tcp", l.address("web", 0)+":80")
		front.wantNoAnswer("tcp", at6(l.address("web", 1), "80"))
		web.wantNoAnswer("tcp", l.address("front", 0)+":80")
	})
	t.Run("unpublished from outside", func(t *testing.T) {
		l.outside.wantNoAnswer("tcp", l.address("web", 0)+":80")
		l.outside.wantNoAnswer("tcp", at6(l.address("web", 1), "80"))
	})
	t.Run("to the outside with the host's address", func(t *testing.T) {
		web.wantAnswer("tcp", outsideAddr4+":80", "outside "+hostAddr4)
		web.wantAnswer("tcp", at6(outsideAddr6, "80"), "outside "+hostAddr6)
		both.wantAnswer("tcp", outsideAddr4+":80", "outside "+hostAddr4)
	})
	t.Run("internal network", func(t *testing.T) {
		back.wantNoAnswer("tcp", outsideAddr4+":80")
		back.wantNoAnswer("tcp", hostAddr4+":8080")
	})
	t.Run("the host's loopback is not a container's", func(t *testing.T) {
		l.host.serve("secret", 99)
		lo, err := web.nl.LinkByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		addrs, _ := web.nl.AddrList(lo, netlink.FAMILY_V4)
		for _, a := range addrs {
			web.nl.AddrDel(lo, &a)
		}
		web.route("127.0.0.0/8", l.m.byName(Bridge).Ipam[0].Gateway)
		web.do(func() error { return writeSysctl("net/ipv4/conf/eth0/route_localnet", "1") })
		web.wantNoAnswer("tcp", "127.0.0.1:99")
	})
	t.Run("a daemon that comes back", func(t *testing.T) {
		again := l.open(l.m.cfg.Dir)
		l.m.Close()
		l.m = again
		veth := vethName("other", l.rows["other"].Endpoints[0].NetworkId)
		link, err := l.host.nl.LinkByName(veth)
		if err == nil {
			err = l.host.nl.LinkDel(link)
		}
		if err != nil {
			t.Fatal(err)
		}
		stray := netlink.NewLinkAttrs()
		stray.Name = "shbr-0123456789"
		if err := l.host.nl.LinkAdd(&netlink.Bridge{LinkAttrs: stray}); err != nil {
			t.Fatal(err)
		}
		var all []Attachment
		for _, a := range l.rows {
			all = append(all, a)
		}
		for range 2 { // the second changes nothing
			if err := l.m.Reconcile(context.Background(), func() []Attachment { return all }); err != nil {
				t.Fatal(err)
			}
		}
		l.outside.wantAnswer("tcp", hostAddr4+":8080", "web "+outsideAddr4)
		front.wantAnswer("tcp", outsideAddr4+":80", "outside")
		other.wantAnswer("tcp", outsideAddr4+":80", "outside")
		if _, err := l.host.nl.LinkByName("shbr-0123456789"); err == nil {
			t.Error("a bridge that nobody wants is still there")
		}
	})
	t.Run("a port passes on", func(t *testing.T) {
		l.stop("web")
		l.outside.wantNoAnswer("tcp", hostAddr4+":8080")
		l.run("next", []string{Bridge}, port(8080, 80))
		l.outside.wantAnswer("tcp", hostAddr4+":8080", "next")
	})
	for _, name := range []string{"next", "other", "front", "back", "both"} {
		l.stop(name)
	}
	l.wantNothingLeft()
}

func TestPortTaken(t *testing.T) {
	l := newLab(t)
	l.host.serve("squatter", 8080)
	a, b := newSpace(t, "a"), newSpace(t, "b")
	err := l.try("a", a.path, []string{Bridge}, port(8080, 80))
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "8080/tcp") {
		t.Errorf("port of a program: %v", err)
	}
	if err := l.try("a", a.path, []string{Bridge}, port(0, 80), port(9090, 81)); err != nil {
		t.Fatal(err)
	}
	if got := l.rows["a"].Ports[0].HostPort; got == 0 {
		t.Error("no port was chosen for 0")
	}
	err = l.try("b", b.path, []string{Bridge}, port(9090, 80))
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "container a") {
		t.Errorf("port of a container: %v", err)
	}
	l.stop("a")
	if err := l.try("b", b.path, []string{Bridge}, port(9090, 80)); err != nil {
		t.Errorf("a port that was given back: %v", err)
	}
	l.stop("b")
	l.wantNothingLeft()
}

// A range of host ports is where a free one is looked for.
func TestPortOfRange(t *testing.T) {
	l := newLab(t)
	l.host.serve("squatter", 8080)
	for i, name := range []string{"a", "b"} {
		l.run(name, []string{Bridge}, &api.PortBinding{HostPort: 8080, HostPortEnd: 8082, ContainerPort: 80})
		p := l.rows[name].Ports[0]
		if p.HostPort != 8081+uint32(i) || p.HostPortEnd != 0 {
			t.Errorf("%s has %v", name, p)
		}
		l.outside.wantAnswer("tcp", fmt.Sprintf("%s:%d", hostAddr4, p.HostPort), name)
	}
	err := l.try("c", newSpace(t, "c").path, []string{Bridge}, &api.PortBinding{HostPort: 8080, HostPortEnd: 8082, ContainerPort: 80})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "from 8080 to 8082/tcp") {
		t.Errorf("a range that is full: %v", err)
	}
	l.stop("a")
	l.stop("b")
	l.wantNothingLeft()
}

// One network may have IPv4 only, the next one both: the way out and published ports are of each family the first's.
func TestFamiliesByThemselves(t *testing.T) {
	l := newLab(t)
	l.create(&api.LocalNetwork{Name: "four"})
	l.create(&api.LocalNetwork{Name: "both", Ipv6: true})
	l.outside.serve("outside", 80)
	c := l.run("c", []string{"four", "both"}, port(8080, 80), &api.PortBinding{HostIp: hostAddr6, HostPort: 8081, ContainerPort: 80})
	c.wantAnswer("tcp", outsideAddr4+":80", "outside")
	c.wantAnswer("tcp", at6(outsideAddr6, "80"), "outside")
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "c")
	l.outside.wantAnswer("tcp", at6(hostAddr6, "8080"), "c")
	l.outside.wantAnswer("tcp", at6(hostAddr6, "8081"), "c")
	l.outside.wantNoAnswer("tcp", hostAddr4+":8081")
	c.wantAnswer("tcp", at6(hostAddr6, "8081"), "c") // by its own published port
	l.stop("c")
	l.wantNothingLeft()
}

func TestNetworksPersist(t *testing.T) {
	l := newLab(t)
	made, err := l.m.Create(context.Background(), &api.LocalNetwork{Name: "kept", Labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.m.Create(context.Background(), &api.LocalNetwork{Name: "kept"}); !errors.Is(err, ErrExists) {
		t.Errorf("second of a name: %v", err)
	}
	again := l.open(l.m.cfg.Dir)
	got, err := again.Get(made.Id[:6])
	if err != nil || got.Labels["a"] != "b" || got.Ipam[0].Subnet != made.Ipam[0].Subnet {
		t.Errorf("after a restart: %v, %v", got, err)
	}
	if err := again.Remove(context.Background(), "kept"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{Bridge, Host, None} {
		if err := again.Remove(context.Background(), name); !errors.Is(err, ErrInvalid) {
			t.Errorf("remove %s: %v", name, err)
		}
	}
}

// A container by itself, and one beside another: the first of a network has more to make.
func BenchmarkAttach(b *testing.B) {
	for _, beside := range []bool{false, true} {
		b.Run(fmt.Sprintf("beside=%v", beside), func(b *testing.B) {
			l := newLab(b)
			s := newSpace(b, "c")
			if beside {
				l.run("first", []string{Bridge})
			}
			for b.Loop() {
				if err := l.try("c", s.path, []string{Bridge}); err != nil {
					b.Fatal(err)
				}
				l.stop("c")
			}
		})
	}
}
