//go:build linux

// Package hosts makes a cluster of hosts on one machine: network namespaces on a bridge, each with its own
// daemon, data and run directory.
//
// The bridge is in a namespace of its own too, so that nothing of the machine's own network is touched, and a
// client namespace beside the hosts is somebody outside the cluster. Used by the end-to-end tests, the demo and
// the benchmarks.
package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/shoal-dev/shoal/internal/thread"
)

// Config describes a lab.
type Config struct {
	Name string // prefix of namespaces and cgroups, at most 8 characters
	Dir  string // data and run directories go below; keep it short, sockets are there
	Bin  string // the shoal binary
	N    int    // hosts
	Env  []string
	Log  io.Writer // what daemons write beside their log files; nil: nowhere
}

// Lab is a set of hosts. Close it.
type Lab struct {
	cfg    Config
	Hosts  []*Host
	Client *Host // no daemon: somebody outside
	sw     netns.NsHandle
}

// New makes the namespaces; no daemon runs yet.
func New(cfg Config) (*Lab, error) {
	l := &Lab{cfg: cfg, sw: -1}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := l.build(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) build() error {
	sw, err := newNamed(l.cfg.Name + "-sw")
	if err != nil {
		return err
	}
	l.sw = sw
	if err := l.bridge(); err != nil {
		return err
	}
	for i := 1; i <= l.cfg.N; i++ {
		h, err := l.host(fmt.Sprintf("%s-%d", l.cfg.Name, i), i)
		if err != nil {
			return err
		}
		l.Hosts = append(l.Hosts, h)
	}
	l.Client, err = l.host(l.cfg.Name+"-out", 200)
	return err
}

// The underlay: documentation-sized, and far from the pools that a cluster takes by default.
var (
	underlay4 = netip.MustParsePrefix("172.31.77.0/24")
	underlay6 = netip.MustParsePrefix("fd77:77:77::/64")
)

func addr4(i int) netip.Addr {
	a := underlay4.Addr().As4()
	a[3] = byte(i)
	return netip.AddrFrom4(a)
}

func addr6(i int) netip.Addr {
	a := underlay6.Addr().As16()
	a[15] = byte(i)
	return netip.AddrFrom16(a)
}

const routerNumber = 254

// bridge makes the switch, which is also the way out: a host without a default route is not a usual host.
func (l *Lab) bridge() error {
	h, err := netlink.NewHandleAt(l.sw)
	if err != nil {
		return err
	}
	defer h.Close()
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := h.LinkAdd(br); err != nil {
		return fmt.Errorf("create switch: %w", err)
	}
	return up(h, "br0", routerNumber)
}

func (l *Lab) host(name string, number int) (*Host, error) {
	ns, err := newNamed(name)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Addr: addr4(number), Addr6: addr6(number), Dir: filepath.Join(l.cfg.Dir, strconv.Itoa(number)), lab: l, bin: l.cfg.Bin, ns: ns}
	return h, h.plug(number)
}

// plug connects a host to the switch.
func (h *Host) plug(number int) error {
	port := "p" + strconv.Itoa(number)
	sw, err := netlink.NewHandleAt(h.lab.sw)
	if err != nil {
		return err
	}
	defer sw.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(h.ns)}
	if err := sw.LinkAdd(veth); err != nil {
		return fmt.Errorf("plug in %s: %w", h.Name, err)
	}
	br, err := sw.LinkByName("br0")
	if err != nil {
		return err
	}
	p, err := sw.LinkByName(port)
	if err != nil {
		return err
	}
	if err := errors.Join(sw.LinkSetMaster(p, br), sw.LinkSetUp(p)); err != nil {
		return fmt.Errorf("plug in %s: %w", h.Name, err)
	}
	h.port = port
	own, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return err
	}
	defer own.Close()
	if err := up(own, "eth0", number); err != nil {
		return err
	}
	return defaultRoutes(own)
}

// up gives a link its addresses; without duplicate address detection, which would take a second.
func up(h *netlink.Handle, name string, number int) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if err := errors.Join(h.LinkSetUp(lo), h.LinkSetUp(link)); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{netip.PrefixFrom(addr4(number), underlay4.Bits()), netip.PrefixFrom(addr6(number), underlay6.Bits())} {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, Flags: 0x02 /* IFA_F_NODAD */}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("address %s on %s: %w", p, name, err)
		}
	}
	return nil
}

func defaultRoutes(h *netlink.Handle) error {
	link, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, gw := range []netip.Addr{addr4(routerNumber), addr6(routerNumber)} {
		if err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw.AsSlice()}); err != nil {
			return fmt.Errorf("default route: %w", err)
		}
	}
	return nil
}

// Close ends every daemon and container and removes what New made. Data directories are removed too.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range append(l.Hosts, l.Client) {
		if h != nil {
			errs = append(errs, h.destroy())
		}
	}
	if l.sw >= 0 {
		errs = append(errs, l.sw.Close(), netns.DeleteNamed(l.cfg.Name+"-sw"))
	}
	errs = append(errs, unmountBelow(l.cfg.Dir), os.RemoveAll(l.cfg.Dir))
	return errors.Join(errs...)
}

// newNamed makes a namespace that `ip netns` knows, on a thread that is thrown away.
func newNamed(name string) (netns.NsHandle, error) {
	var ns netns.NsHandle
	err := thread.Spend(func() (err error) {
		ns, err = netns.NewNamed(name)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("create namespace %s: %w", name, err)
	}
	return ns, nil
}

// Start starts the daemons of all hosts.
func (l *Lab) Start(ctx context.Context) error {
	errs := make(chan error, len(l.Hosts))
	for _, h := range l.Hosts {
		go func() { errs <- h.Start(ctx) }()
	}
	var all []error
	for range l.Hosts {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
