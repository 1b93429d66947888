//go:build linux

package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/overlay/netns"
)

// lab is a few hosts on one Ethernet, each a network namespace with an Overlay, and a client beside them.
type lab struct {
	t      testing.TB
	dir    string
	sw     *place
	hosts  []*labHost
	client *place
	model  Desired // what every host is told
	count  int     // containers so far: their addresses on the gateway network
}

// place is a namespace with a name.
type place struct {
	t    testing.TB
	name string
	path string
	ns   *netns.NS
	h    *netlink.Handle
}

type labHost struct {
	*place
	o      *Overlay
	cfg    Config
	node   string
	ids    []string // attached containers
	cancel context.CancelFunc
	done   chan error
}

type labContainer struct {
	*place
	host *labHost
	a    Attachment
}

func needRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
}

// newLab makes n hosts with addresses 192.168.77.1.. and fd77::1..; the client is .100. With six set, the hosts' data
// path is IPv6.
func newLab(t testing.TB, n int, six bool) *lab {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "shlab")
	must(t, err)
	l := &lab{t: t, dir: dir}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l.sw = l.place("switch")
	must(t, l.sw.h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}))
	l.sw.up("br")
	for i := 1; i <= n; i++ {
		h := &labHost{place: l.place(fmt.Sprintf("host%d", i)), node: fmt.Sprintf("node%d", i)}
		l.plug(h.place, i)
		vtep := netip.MustParseAddr(fmt.Sprintf("192.168.77.%d", i))
		if six {
			vtep = netip.MustParseAddr(fmt.Sprintf("fd77::%d", i))
		}
		h.cfg = Config{NodeID: h.node, RunDir: filepath.Join(dir, "run", h.node), VTEP: vtep, NetNS: h.path, Interval: 100 * time.Millisecond,
			Patience: time.Hour, Logger: testLog(t)}
		l.hosts = append(l.hosts, h)
		l.model.Peers = append(l.model.Peers, Peer{NodeID: h.node, Hostname: h.name, VTEP: vtep, Number: uint32(i), Addrs: []netip.Addr{
			netip.MustParseAddr(fmt.Sprintf("192.168.77.%d", i)), netip.MustParseAddr(fmt.Sprintf("fd77::%d", i))}, Gateways: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("10.200.%d.0/24", i)), netip.MustParsePrefix(fmt.Sprintf("fd20:0:0:%d::/64", i))}})
	}
	l.client = l.place("client")
	l.plug(l.client, 100)
	return l
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{t}, nil))
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) place(name string) *place {
	l.t.Helper()
	p := &place{t: l.t, name: name, path: filepath.Join(l.dir, "ns", name)}
	must(l.t, netns.Create(p.path))
	var err error
	p.ns, err = netns.Open(p.path)
	must(l.t, err)
	p.h, err = netlink.NewHandleAt(handleOf(p.ns), unix.NETLINK_ROUTE)
	must(l.t, err)
	l.t.Cleanup(func() {
		p.h.Close()
		p.ns.Close()
		netns.Remove(p.path)
	})
	p.up("lo")
	must(l.t, p.ns.Do(func() error {
		_ = os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("cubic"), 0o644)
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
		return nil
	}))
	return p
}

func (p *place) up(name string) {
	p.t.Helper()
	link, err := p.h.LinkByName(name)
	must(p.t, err)
	must(p.t, p.h.LinkSetUp(link))
}

func (p *place) addr(name, cidr string) {
	p.t.Helper()
	link, err := p.h.LinkByName(name)
	must(p.t, err)
	a, err := netlink.ParseAddr(cidr)
	must(p.t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(p.t, p.h.AddrAdd(link, a))
}

// plug connects a place to the switch.
func (l *lab) plug(p *place, number int) {
	l.t.Helper()
	port := "p-" + p.name
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns.FD())}
	must(l.t, l.sw.h.LinkAdd(veth))
	br, err := l.sw.h.LinkByName("br")
	must(l.t, err)
	link, err := l.sw.h.LinkByName(port)
	must(l.t, err)
	must(l.t, l.sw.h.LinkSetMaster(link, br))
	l.sw.up(port)
	p.addr("eth0", fmt.Sprintf("192.168.77.%d/24", number))
	p.addr("eth0", fmt.Sprintf("fd77::%d/64", number))
	p.up("eth0")
}

// start gives a host its Overlay and runs it.
func (l *lab) start(h *labHost) {
	l.t.Helper()
	var err error
	h.o, err = New(h.cfg)
	must(l.t, err)
	h.o.Adopt(h.ids)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan error, 1)
	go func() { h.done <- h.o.Run(ctx) }()
	l.t.Cleanup(func() {
		l.stop(h)
		must(l.t, h.o.Cleanup(context.Background()))
		h.o.Close()
	})
}

func (l *lab) stop(h *labHost) {
	if h.cancel != nil {
		h.cancel()
		<-h.done
		h.cancel = nil
	}
}

// tell hands the model to every host.
func (l *lab) tell() {
	for _, h := range l.hosts {
		l.tellOne(h)
	}
}

func (l *lab) tellOne(h *labHost) {
	if h.o == nil {
		return
	}
	d := l.model
	d.NodeID = h.node
	d.Networks = append([]Network(nil), d.Networks...)
	d.Endpoints = append([]Endpoint(nil), d.Endpoints...)
	d.Services = append([]Service(nil), d.Services...)
	h.o.Set(d)
}

// settle waits until every host's kernel is what was asked for.
func (l *lab) settle() {
	l.t.Helper()
	for _, h := range l.hosts {
		if h.o == nil {
			continue
		}
		l.eventually(h.name+" settles", func() error {
			lines, err := h.o.Check(context.Background())
			if err == nil && len(lines) > 0 {
				err = errors.New(strings.Join(lines, "\n"))
			}
			return err
		})
	}
}

func (l *lab) eventually(what string, f func() error) {
	l.t.Helper()
	var err error
	if !poll.Until(time.Minute, func() bool { err = f(); return err == nil }) {
		l.t.Fatalf("%s: %v", what, err)
	}
}

// network adds one with a subnet of each family.
func (l *lab) network(id string, vni uint32, v4, v6 string) {
	n := Network{ID: id, Name: id, VNI: vni}
	for _, s := range []string{v4, v6} {
		if s != "" {
			p := netip.MustParsePrefix(s)
			n.Subnets = append(n.Subnets, Subnet{Prefix: p, Gateway: p.Addr().Next()})
		}
	}
	l.model.Networks = append(l.model.Networks, n)
}

// container makes and attaches one: its number is the last part of its addresses. It is an endpoint of service,
// if that is not "".
func (l *lab) container(h *labHost, name, service string, number int, networks ...string) *labContainer {
	l.t.Helper()
	c := &labContainer{place: l.place(name), host: h}
	c.a = Attachment{ID: name, TaskID: name, NetNS: c.path}
	endpoint := func(network string, addrs []netip.Addr) {
		l.model.Endpoints = append(l.model.Endpoints, Endpoint{NetworkID: network, TaskID: name, ServiceID: service, NodeID: h.node, Addrs: addrs, Name: name, Ready: true})
	}
	for _, id := range networks {
		var addrs []netip.Addr
		for _, n := range l.model.Networks {
			for _, s := range n.Subnets {
				if n.ID == id {
					addrs = append(addrs, nth(s.Prefix, number))
				}
			}
		}
		c.a.Networks = append(c.a.Networks, AttachedNetwork{NetworkID: id, Addrs: addrs})
		endpoint(id, addrs)
	}
	var gateway []netip.Addr
	l.count++
	for _, p := range l.model.Peers {
		for _, g := range p.Gateways {
			if p.NodeID == h.node {
				c.a.Gateway = append(c.a.Gateway, netip.PrefixFrom(nth(g, 20+l.count), g.Bits()))
				gateway = append(gateway, nth(g, 20+l.count))
			}
		}
	}
	endpoint("", gateway)
	l.tell()
	l.attach(c)
	return c
}

func (l *lab) attach(c *labContainer) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(l.t, c.host.o.Attach(ctx, c.a))
	c.host.ids = append(c.host.ids, c.a.ID)
	c.host.o.Adopt(c.host.ids)
}

func nth(p netip.Prefix, n int) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] += byte(n)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// serve answers on TCP and UDP with its name and who asks, until the test ends.
func (p *place) serve(port int) {
	p.t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	must(p.t, p.ns.Do(func() (err error) {
		if tcp, err = net.Listen("tcp", fmt.Sprintf("[::]:%d", port)); err != nil {
			return err
		}
		udp, err = net.ListenPacket("udp", fmt.Sprintf("[::]:%d", port))
		return err
	}))
	p.t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if string(buf[:n]) == "who\n" {
						fmt.Fprintf(c, "%s %s\n", p.name, host2(c.RemoteAddr()))
						continue
					}
					c.Write(buf[:n])
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) == "who\n" {
				udp.WriteTo([]byte(fmt.Sprintf("%s %s\n", p.name, host2(from))), from)
				continue
			}
			udp.WriteTo(buf[:n], from)
		}
	}()
}

func host2(a net.Addr) string {
	ap := netip.MustParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("").String()
}

// How long an answer is waited for: patiently where it has to come, shortly where none should or another try follows.
const (
	patient = 30 * time.Second
	short   = time.Second
)

// dial opens a connection from inside the place.
func (p *place) dial(network, addr string) (net.Conn, error) {
	return p.dialFor(patient, network, addr)
}

func (p *place) dialFor(patience time.Duration, network, addr string) (c net.Conn, err error) {
	err = p.ns.Do(func() error {
		c, err = net.DialTimeout(network, addr, patience)
		return err
	})
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// ask returns who answers and as whom it sees this place: "NAME ADDRESS".
func (p *place) ask(network, addr string) (string, error) { return p.askFor(patient, network, addr) }

// try is ask where perhaps nobody answers.
func (p *place) try(network, addr string) (string, error) { return p.askFor(2*short, network, addr) }

func (p *place) askFor(patience time.Duration, network, addr string) (string, error) {
	c, err := p.dialFor(patience, network, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return who(c, patience)
}

func who(c net.Conn, patience time.Duration) (string, error) {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "who\n"); err != nil {
		return "", err
	}
	buf := make([]byte, 200)
	n, err := c.Read(buf)
	return strings.TrimSpace(string(buf[:n])), err
}

// wants checks an answer, trying again while the network settles.
func (l *lab) wants(from *place, network, addr, want string) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("%s asks %s %s", from.name, network, addr), func() error {
		got, err := from.try(network, addr)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// answers collects who answers to n questions.
func (p *place) answers(network, addr string, n int) (map[string]int, error) {
	got := map[string]int{}
	for range n {
		a, err := p.ask(network, addr)
		if err != nil {
			return got, err
		}
		name, _, _ := strings.Cut(a, " ")
		got[name]++
	}
	return got, nil
}

func at(a netip.Addr, port int) string { return netip.AddrPortFrom(a, uint16(port)).String() }
