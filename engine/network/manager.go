//go:build linux

package network

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("no such network")
	ErrExists   = errors.New("network exists")
	ErrInvalid  = errors.New("invalid network")
	ErrInUse    = errors.New("in use")
)

// Names of the networks that are always there.
const (
	Bridge = "bridge"
	Host   = "host"
	None   = "none"
)

// Drivers besides Bridge.
const (
	Macvlan = "macvlan"
	IPvlan  = "ipvlan"
)

// Config of a Manager.
type Config struct {
	Dir string // one file NAME.pb for each network
	// NetNS is the path of the namespace to work in; "": the one of the calling thread.
	NetNS  string
	Logger *slog.Logger
	// ResolvConf names the DNS servers that no network's addresses may hide; default /etc/resolv.conf.
	ResolvConf string
	// FaultPoint, if set, is called between any two steps, where a crash is tested.
	FaultPoint func(name string)
}

// Manager keeps the local networks of one network namespace. Safe for concurrent use.
type Manager struct {
	cfg Config
	log *slog.Logger
	ns  netns.NsHandle
	own bool // ns is the process's own
	nl  *netlink.Handle
	// slow is for what the kernel takes its time for: a handle makes one request after another.
	slow       *netlink.Handle
	background sync.WaitGroup

	mu       sync.Mutex
	networks map[string]*api.LocalNetwork // by ID; never changed in place
	attached map[string]Attachment        // by container
	holds    map[string][]*hold           // by container
	idle     map[string]bool              // networks that somebody has left since Reconcile
	retired  map[string]chan struct{}     // interfaces that are being deleted, by name; closed when they are
	applied  *ruleset                     // what the kernel has; nil: unknown
	begun    bool                         // Reconcile was called
	ipv6     bool
	warned   string // of which firewall
	// bridgeFilter says that bridged packets pass through nftables too (module br_netfilter): then a container that calls
	// itself by a published port is answered within the bridge, which must be told to send packets back where they came from.
	bridgeFilter bool
}

// New opens the networks in cfg.Dir. It changes nothing in the kernel.
func New(cfg Config) (*Manager, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.FaultPoint == nil {
		cfg.FaultPoint = func(string) {}
	}
	cfg.ResolvConf = cmp.Or(cfg.ResolvConf, "/etc/resolv.conf")
	m := &Manager{
		cfg: cfg, log: cfg.Logger, networks: map[string]*api.LocalNetwork{},
		attached: map[string]Attachment{}, holds: map[string][]*hold{}, idle: map[string]bool{},
		retired: map[string]chan struct{}{},
	}
	if err := m.open(); err != nil {
		return nil, err
	}
	if err := m.load(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Manager) open() (err error) {
	if m.own = m.cfg.NetNS == ""; m.own {
		m.ns, err = netns.Get()
	} else {
		m.ns, err = netns.GetFromPath(m.cfg.NetNS)
	}
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	if m.nl, err = netlink.NewHandleAt(m.ns, unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER); err != nil {
		m.ns.Close()
		return fmt.Errorf("open netlink: %w", err)
	}
	if m.slow, err = netlink.NewHandleAt(m.ns, unix.NETLINK_ROUTE); err != nil {
		m.nl.Close()
		m.ns.Close()
		return fmt.Errorf("open netlink: %w", err)
	}
	return m.inNS(func() error {
		_, err := os.Stat("/proc/sys/net/ipv6/conf/all/forwarding")
		m.ipv6 = err == nil
		m.bridgeFilter = true
		for _, file := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
			filter, err := os.ReadFile("/proc/sys/net/bridge/" + file)
			m.bridgeFilter = m.bridgeFilter && err == nil && strings.TrimSpace(string(filter)) == "1"
		}
		return nil
	})
}

// Close lets go of held ports and of the namespace. The kernel keeps networks and attachments.
func (m *Manager) Close() {
	m.background.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for c, holds := range m.holds {
		closeAll(holds)
		delete(m.holds, c)
	}
	m.nl.Close()
	m.slow.Close()
	m.ns.Close()
}
