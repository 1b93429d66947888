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
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/id"
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

// Config of a Manager.
type Config struct {
	Dir string // one file NAME.pb for each network
	// NetNS is the path of the namespace to work in; "": the one of the calling thread.
	NetNS  string
	Logger *slog.Logger
}

// Manager keeps the local networks of one network namespace. Safe for concurrent use.
type Manager struct {
	cfg Config
	log *slog.Logger
	ns  netns.NsHandle
	own bool // ns is the process's own
	nl  *netlink.Handle

	mu       sync.Mutex
	networks map[string]*api.LocalNetwork // by ID; never changed in place
	attached map[string]Attachment        // by container
	holds    map[string][]*hold           // by container
	applied  *ruleset                     // what the kernel has; nil: unknown
	ipv6     bool
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
	m := &Manager{
		cfg: cfg, log: cfg.Logger, networks: map[string]*api.LocalNetwork{},
		attached: map[string]Attachment{}, holds: map[string][]*hold{},
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
	return m.inNS(func() error {
		_, err := os.Stat("/proc/sys/net/ipv6/conf/all/forwarding")
		m.ipv6 = err == nil
		filter, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
		m.bridgeFilter = err == nil && strings.TrimSpace(string(filter)) == "1"
		return nil
	})
}

// Close lets go of held ports and of the namespace. The kernel keeps networks and attachments.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c, holds := range m.holds {
		closeAll(holds)
		delete(m.holds, c)
	}
	m.nl.Close()
	m.ns.Close()
}

// load reads the networks and adds those that are always there.
func (m *Manager) load() error {
	if err := os.MkdirAll(m.cfg.Dir, 0o710); err != nil {
		return fmt.Errorf("open networks: %w", err)
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
			return fmt.Errorf("open networks: %s is damaged: remove it to lose the network", file)
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

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// optionMTU sets the MTU of a network; the second spelling is Docker's.
var optionMTU = []string{"mtu", "com.docker.network.driver.mtu"}

// Create makes a network of driver bridge. Subnets that are not given are chosen so that they meet no route of this host.
func (m *Manager) Create(_ context.Context, want *api.LocalNetwork) (*api.LocalNetwork, error) {
	n := proto.CloneOf(want)
	if n.Driver == "" {
		n.Driver = Bridge
	}
	switch {
	case !nameForm.MatchString(n.Name):
		return nil, fmt.Errorf("%w: name %q: use letters, digits, '_', '.' and '-', the first a letter or digit", ErrInvalid, n.Name)
	case n.Driver != Bridge:
		return nil, fmt.Errorf("%w: driver %q: this node makes networks of driver bridge, the cluster those of driver overlay", ErrInvalid, n.Driver)
	case n.Ipv6 && !m.ipv6:
		return nil, fmt.Errorf("%w: IPv6 is switched off on this host", ErrInvalid)
	}
	for key, value := range n.Options {
		mtu, err := strconv.Atoi(value)
		if !slices.Contains(optionMTU, key) {
			return nil, fmt.Errorf("%w: unknown option %q", ErrInvalid, key)
		}
		if err != nil || mtu < 576 || mtu > 65535 {
			return nil, fmt.Errorf("%w: MTU %q is not between 576 and 65535", ErrInvalid, value)
		}
	}
	n.Id, n.CreatedAt, n.Endpoints = id.NewHex(), timestamppb.Now(), nil
	n.Bridge = bridgePrefix + n.Id[:10]
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName(n.Name) != nil {
		return nil, fmt.Errorf("%w: %s: choose another name or remove that one", ErrExists, n.Name)
	}
	if err := m.addLocked(n); err != nil {
		return nil, err
	}
	return n, nil
}

// addLocked fills in the subnets and writes the network down.
func (m *Manager) addLocked(n *api.LocalNetwork) error {
	busy, err := m.busyPrefixes()
	if err != nil {
		return err
	}
	if n.Ipam, err = chooseSubnets(n, busy); err != nil {
		return err
	}
	data, err := proto.Marshal(n)
	if err != nil {
		return err
	}
	path := m.file(n.Id)
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("write network: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write network: %w", err)
	}
	m.networks[n.Id] = n
	return nil
}

func (m *Manager) file(nid string) string { return filepath.Join(m.cfg.Dir, nid+".pb") }

// Remove deletes a network that nobody is attached to.
func (m *Manager) Remove(_ context.Context, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.get(ref)
	if err != nil {
		return err
	}
	if n.Name == Bridge || n.Driver != Bridge {
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
	delete(m.networks, n.Id)
	return nil
}

func (a Attachment) on(networkID string) bool {
	return slices.ContainsFunc(a.Endpoints, func(ep *api.NetworkEndpoint) bool { return ep.NetworkId == networkID })
}

// HasNames says whether containers on a network find each other by name. On the default bridge they do not.
func (m *Manager) HasNames(networkID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.networks[networkID]
	return n != nil && n.Name != Bridge
}
