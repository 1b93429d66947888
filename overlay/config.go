//go:build linux

package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/overlay/netns"
)

// Config is what an Overlay needs to know about its node. It does not change while the Overlay lives.
type Config struct {
	NodeID string
	RunDir string     // sandboxes are bind mounted in RunDir/overlay
	VTEP   netip.Addr // this node's data path address; the underlay link is the one that carries it
	Port   uint16     // UDP port of the data path, 0: 4789
	// NetNS is the namespace that carries the underlay, "": the one New is called in.
	NetNS string
	// Interval is the time between two looks at the kernel when nothing changed, 0: five seconds.
	Interval time.Duration
	// Patience is how long a node may not be heard of before connections to its containers are cut, 0: five seconds. New
	// connections go elsewhere at once.
	Patience time.Duration
	// Offload says who computes the checksums of packets in the tunnel.
	Offload Offload
	// OnSandbox, if set, is called with all sandboxes whenever the list changed, one call at a time and in order.
	// It may call SandboxPath and Sandboxes, and must not wait for Run, Attach or Detach.
	OnSandbox func([]Sandbox)
	Logger    *slog.Logger // nil: slog.Default()

	ipv4Only bool // this host's kernel has no IPv6; New finds out
}

// Offload chooses between speed and caution for checksums of encapsulated packets.
type Offload string

const (
	OffloadAuto Offload = ""    // off where the kernel or the underlay's driver is known to get it wrong
	OffloadOn   Offload = "on"  // the underlay device computes them
	OffloadOff  Offload = "off" // the kernel computes them before encapsulation
)

// Sandbox is a place where containers reach this node: one for each network, and the gateway bridge.
type Sandbox struct {
	NetworkID string       // "" for the gateway bridge
	Path      string       // network namespace, "" for the daemon's own
	Inode     uint64       // of the namespace: another one was made when this changes
	Gateways  []netip.Addr // addresses of this node's side, at most one per family: DNS listens there
}

// Overlay keeps this node's kernel equal to the last Desired. Its methods may be called from several goroutines.
type Overlay struct {
	cfg  Config
	log  *slog.Logger
	wake chan struct{} // capacity 1: something changed

	mu      sync.Mutex // guards what is wanted, never held over a system call
	desired *Desired   // nil until the first Set
	down    map[string]bool
	silent  map[string]time.Time // nodes that are down, by gossip or managers, and since when this node knows
	claims  map[string]*Attachment
	wiring  map[string]int // attachments at work, by container: what is missing inside is being made
	adopted bool           // every running container was named: what nobody claims may go
	changed chan struct{}

	spaces sync.Mutex // guards the two below, not what they point to
	host   *space
	boxes  map[string]*space // sandboxes by network ID

	notify   sync.Mutex // one OnSandbox at a time
	notified []Sandbox
}

const defaultPort = 4789

// New checks the configuration and finds what is there; it changes nothing in the kernel.
func New(cfg Config) (*Overlay, error) {
	if cfg.NodeID == "" || cfg.RunDir == "" {
		return nil, fmt.Errorf("overlay: node ID and run directory are needed")
	}
	if !cfg.VTEP.IsValid() || cfg.VTEP.IsUnspecified() || cfg.VTEP.IsLoopback() {
		return nil, fmt.Errorf("overlay: data path address %q cannot be reached by other nodes; give the address of an interface", cfg.VTEP)
	}
	cfg.VTEP = cfg.VTEP.Unmap().WithZone("")
	if cfg.Port == 0 {
		cfg.Port = defaultPort
	}
	if cfg.Interval == 0 {
		cfg.Interval = 5 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	host, err := openHost(cfg.NetNS)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	if err := host.ns.Do(func() error {
		_, err := os.Stat("/proc/sys/net/ipv6")
		cfg.ipv4Only = cfg.ipv4Only || errors.Is(err, os.ErrNotExist)
		return nil
	}); err != nil {
		host.close()
		return nil, fmt.Errorf("overlay: %w", err)
	}
	return &Overlay{
		cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1),
		silent: map[string]time.Time{}, claims: map[string]*Attachment{}, wiring: map[string]int{}, changed: make(chan struct{}),
		host: host, boxes: map[string]*space{},
	}, nil
}

func openHost(path string) (*space, error) {
	open := netns.Current
	if path != "" {
		open = func() (*netns.NS, error) { return netns.Open(path) }
	}
	ns, err := open()
	if err != nil {
		return nil, err
	}
	return openSpace("host", ns, nil)
}

// SandboxPath is where the namespace of a network is mounted on this node, whether it exists or not.
func (o *Overlay) SandboxPath(networkID string) string {
	return filepath.Join(o.sandboxDir(), networkID)
}

func (o *Overlay) sandboxDir() string { return filepath.Join(o.cfg.RunDir, "overlay") }

// Set hands over everything this node should know; d must not be changed afterwards. The last one counts; it returns
// at once.
func (o *Overlay) Set(d Desired) {
	o.mu.Lock()
	o.desired = &d
	o.clock()
	o.announce()
	o.mu.Unlock()
}

// SetDown names the nodes that gossip does not hear: their endpoints leave balancing at once. It replaces the last set.
func (o *Overlay) SetDown(nodes map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = map[string]bool{}
	for id, down := range nodes {
		if down {
			o.down[id] = true
		}
	}
	o.clock()
	o.announce()
}

// clock notes since when nodes are down. Called with mu held.
func (o *Overlay) clock() {
	down := maps.Clone(o.down)
	if down == nil {
		down = map[string]bool{}
	}
	if o.desired != nil {
		for _, p := range o.desired.Peers {
			if p.Down {
				down[p.NodeID] = true
			}
		}
	}
	maps.DeleteFunc(o.silent, func(id string, _ time.Time) bool { return !down[id] })
	for id := range down {
		if _, known := o.silent[id]; !known {
			o.silent[id] = time.Now()
		}
	}
}

// lost are the nodes that were not heard of for longer than a moment: a daemon that is restarted, or a host that is too busy to
// answer, still forwards packets. Called with mu held.
func (o *Overlay) lost() map[string]bool {
	out := map[string]bool{}
	for id, since := range o.silent {
		if time.Since(since) >= o.cfg.Patience {
			out[id] = true
		}
	}
	return out
}

// announce wakes Run and whoever waits for a view. Called with mu held.
func (o *Overlay) announce() {
	close(o.changed)
	o.changed = make(chan struct{})
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Adopt says that ids are all containers that have attachments: after a restart of the daemon, call Attach for each
// and then Adopt. What belongs to any other container is removed by Run. Before the first Adopt nothing is removed.
func (o *Overlay) Adopt(ids []string) {
	keep := map[string]bool{}
	for _, id := range ids {
		keep[id] = true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.claims {
		if !keep[id] {
			delete(o.claims, id)
		}
	}
	o.adopted = true
	o.announce()
}

// Run makes the kernel equal to what is wanted, on every change and every Interval, until ctx ends. It leaves
// everything in place when it returns: traffic goes on without the daemon.
func (o *Overlay) Run(ctx context.Context) error { return o.run(ctx) }

// Attach wires a container and returns when its traffic can flow. It waits for Set to name the networks and for this
// node's gateway subnets as long as ctx allows. Calling it again for the same container repairs and changes nothing else.
func (o *Overlay) Attach(ctx context.Context, a Attachment) error { return o.attach(ctx, a) }

// Detach removes a container's links. Detaching what is not attached is no error.
func (o *Overlay) Detach(ctx context.Context, id string) error { return o.detach(ctx, id) }

// Check compares the kernel with what is wanted and says every difference in one line each, changing nothing.
func (o *Overlay) Check(ctx context.Context) ([]string, error) { return o.check(ctx) }

// Cleanup removes everything of ours from this node's kernel. Stop Run first.
func (o *Overlay) Cleanup(ctx context.Context) error { return o.cleanup(ctx) }

// Close lets go of what this Overlay holds open; everything in the kernel stays as it is. Stop Run first.
func (o *Overlay) Close() {
	o.spaces.Lock()
	defer o.spaces.Unlock()
	for id := range o.boxes {
		o.forgetSandbox(id)
	}
	o.host.close()
}

// Sandboxes lists where containers reach this node now.
func (o *Overlay) Sandboxes() []Sandbox { return o.sandboxes() }
