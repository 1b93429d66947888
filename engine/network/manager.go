//go:build linux

package network

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/names"
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

// Attachment is one container's place on local networks, as its row says.
type Attachment struct {
	Container string // ID
	Name      string
	NetNS     string                 // path
	Endpoints []*api.NetworkEndpoint // eth0, eth1, ... in order
	Ports     []*api.PortBinding     // with host ports
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

// load reads the networks and adds those that are always there.
func (m *Manager) load() error {
	if err := os.MkdirAll(m.cfg.Dir, 0o710); err != nil {
		return fmt.Errorf("open networks: %w", err)
	}
	unfinished, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*.tmp"))
	if err != nil {
		return err
	}
	for _, file := range unfinished {
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("open networks: %w", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*.pb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("open networks: %w", err)
		}
		n := &api.LocalNetwork{}
		if err := proto.Unmarshal(data, n); err != nil || n.Id == "" {
			// One network less must not keep all containers of this host from running.
			m.log.Error("a network is lost, its description is damaged: make it anew", "network", filepath.Base(file), "kept", file+damagedExt)
			if err := os.Rename(file, file+damagedExt); err != nil {
				return fmt.Errorf("open networks: %w", err)
			}
			continue
		}
		m.networks[n.Id] = n
	}
	for _, name := range []string{Host, None} {
		n := &api.LocalNetwork{Id: builtinID(name), Name: name, Driver: name}
		m.networks[n.Id] = n
	}
	if m.byName(Bridge) != nil {
		return nil
	}
	n := &api.LocalNetwork{Id: id.NewHex(), Name: Bridge, Driver: Bridge, Ipv6: m.ipv6, Bridge: DefaultBridge}
	return m.addLocked(n)
}

func builtinID(name string) string {
	sum := sha256.Sum256([]byte("shoal local network " + name))
	return hex.EncodeToString(sum[:])
}

func (m *Manager) byName(name string) *api.LocalNetwork {
	for _, n := range m.networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// List returns the networks, oldest first. They are not to be changed.
func (m *Manager) List() []*api.LocalNetwork {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*api.LocalNetwork, 0, len(m.networks))
	for _, n := range m.networks {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *api.LocalNetwork) int {
		return cmp.Or(a.CreatedAt.AsTime().Compare(b.CreatedAt.AsTime()), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Get finds a network by name, ID or unique beginning of an ID.
func (m *Manager) Get(ref string) (*api.LocalNetwork, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(ref)
}

func (m *Manager) get(ref string) (*api.LocalNetwork, error) {
	if n := m.networks[ref]; n != nil {
		return n, nil
	}
	if n := m.byName(ref); n != nil {
		return n, nil
	}
	var found *api.LocalNetwork
	for nid, n := range m.networks {
		if ref != "" && strings.HasPrefix(nid, ref) {
			if found != nil {
				return nil, fmt.Errorf("%w: %q is the beginning of more than one network's ID", ErrInvalid, ref)
			}
			found = n
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, ref)
	}
	return found, nil
}

// Create makes a network. Subnets that are not given are chosen so that they meet no route of this host.
func (m *Manager) Create(_ context.Context, want *api.LocalNetwork) (*api.LocalNetwork, error) {
	n := proto.CloneOf(want)
	if n.Driver == "" {
		n.Driver = Bridge
	}
	n.Id, n.CreatedAt, n.Endpoints = id.NewHex(), timestamppb.Now(), nil
	o, err := m.check(n)
	if err != nil {
		return nil, err
	}
	if n.Bridge = ""; n.Driver == Bridge {
		n.Bridge = cmp.Or(o.bridge, bridgePrefix+n.Id[:10])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName(n.Name) != nil {
		return nil, fmt.Errorf("%w: %s: choose another name or remove that one", ErrExists, n.Name)
	}
	if err := m.linkIsFree(n); err != nil {
		return nil, err
	}
	if err := m.addLocked(n); err != nil {
		return nil, err
	}
	return n, nil
}

// check refuses what no driver could make.
func (m *Manager) check(n *api.LocalNetwork) (options, error) {
	o, err := parseOptions(n)
	switch {
	case !names.Object(n.Name):
		return o, fmt.Errorf("%w: name %q: use letters, digits, '_', '.' and '-', the first a letter or digit", ErrInvalid, n.Name)
	case n.Driver != Bridge && n.Driver != Macvlan && n.Driver != IPvlan:
		return o, fmt.Errorf("%w: driver %q: this node makes networks of driver bridge, macvlan and ipvlan, the cluster those of driver overlay", ErrInvalid, n.Driver)
	case n.Ipv6 && !m.ipv6:
		return o, fmt.Errorf("%w: IPv6 is switched off on this host", ErrInvalid)
	case err != nil:
		return o, err
	case n.Driver == Bridge:
		return o, nil
	}
	return o, m.checkParent(n, o)
}

// linkIsFree refuses to share an interface: a bridge with anybody, the parent of a passthru network with another one.
func (m *Manager) linkIsFree(n *api.LocalNetwork) error {
	for _, other := range m.networks {
		shared := hostLink(other) != "" && hostLink(other) == hostLink(n)
		if shared && (n.Driver == Bridge || other.Driver == Bridge || takesOne(n) || takesOne(other) || n.Driver != other.Driver) {
			return fmt.Errorf("%w: interface %s is %w by network %s", ErrInvalid, hostLink(n), ErrInUse, other.Name)
		}
	}
	if n.Driver != Bridge {
		return nil
	}
	l, err := m.link(n.Bridge)
	if err == nil && l != nil {
		err = fmt.Errorf("%w: this host has an interface %s already: choose another name for the bridge", ErrInvalid, n.Bridge)
	}
	return err
}

// addLocked fills in the subnets and writes the network down.
func (m *Manager) addLocked(n *api.LocalNetwork) error {
	busy, err := m.busyPrefixes()
	if err != nil {
		return err
	}
	if n.Driver != Bridge { // they are on the parent's own network, which this host has a route to
		busy = m.ownPrefixes()
	}
	if n.Ipam, err = chooseSubnets(n, busy); err != nil {
		return err
	}
	data, err := proto.Marshal(n)
	if err != nil {
		return err
	}
	if err := m.write(n.Id, data); err != nil {
		return fmt.Errorf("write network: %w", err)
	}
	m.cfg.FaultPoint("network.row")
	m.networks[n.Id] = n
	return nil
}

// write makes a network's file. It is on disk before it has its name, and has its name before anybody hears of the network: a
// power cut leaves all of it or nothing.
func (m *Manager) write(nid string, data []byte) error {
	tmp := m.file(nid) + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	m.cfg.FaultPoint("network.written")
	if err := os.Rename(tmp, m.file(nid)); err != nil {
		return err
	}
	dir, err := os.Open(m.cfg.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// damagedExt ends the name of a file that was found damaged.
const damagedExt = ".damaged"

func (m *Manager) file(nid string) string { return filepath.Join(m.cfg.Dir, nid+".pb") }

// Remove deletes a network that nobody is attached to.
func (m *Manager) Remove(_ context.Context, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get(ref)
	if err != nil {
		return err
	}
	if n.Name == Bridge || n.Driver == Host || n.Driver == None {
		return fmt.Errorf("%w: network %s is always there and cannot be removed", ErrInvalid, n.Name)
	}
	for _, a := range m.attached {
		if a.on(n.Id) {
			return fmt.Errorf("network %s is %w by container %s", n.Name, ErrInUse, a.Name)
		}
	}
	if err := os.Remove(m.file(n.Id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	m.cfg.FaultPoint("network.removed")
	delete(m.networks, n.Id)
	return m.removeLink(n)
}

// removeLink deletes what nobody is on any more, with its rules.
func (m *Manager) removeLink(n *api.LocalNetwork) error {
	l, err := m.link(hostLink(n))
	if err == nil && l != nil && ours(l) && !m.wantedLinks()[hostLink(n)] {
		err = deleteLink(m.nl, l)
	}
	if m.idle[n.Id] {
		delete(m.idle, n.Id)
		err = errors.Join(err, m.applyRules(m.rules()))
	}
	return err
}

func (a Attachment) on(networkID string) bool {
	return slices.ContainsFunc(a.Endpoints, func(ep *api.NetworkEndpoint) bool { return ep.NetworkId == networkID })
}

// HasNames says whether containers find each other by name on an endpoint's network. On the default bridge they do not.
func HasNames(ep *api.NetworkEndpoint) bool { return ep.Network != Bridge }

// HostAddress is where a container reaches this host: the address of its first bridge. Invalid: nowhere.
func (m *Manager) HostAddress(endpoints []*api.NetworkEndpoint) netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ep := range endpoints {
		if n := m.networks[ep.NetworkId]; n != nil && n.Driver == Bridge {
			a, _ := netip.ParseAddr(n.Ipam[0].Gateway)
			return a
		}
	}
	return netip.Addr{}
}
