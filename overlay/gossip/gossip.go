// Package gossip tells which nodes of the cluster answer.
//
// It is memberlist with an encryption key, tuned so that a dead host is known everywhere in about a
// second. Gossip carries liveness only: which nodes exist, where they are and what they run are rows of
// the store. A node that was never heard of is not down, it is unknown.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Config says who this node is on the underlay.
type Config struct {
	NodeID string     // gossip's member name
	Addr   netip.Addr // bound and advertised
	Port   uint16     // TCP and UDP
	Keys   [][]byte   // 32 bytes each; the first encrypts, all decrypt
	Logger *slog.Logger
}

// Pool is this node's membership in the gossip. Create with New, drive with Run.
type Pool struct {
	cfg     Config
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring
	log     *slog.Logger

	mu      sync.Mutex
	down    map[string]bool
	addrs   map[string]string // HOST:PORT of those who answer
	peers   []string
	changed chan struct{} // closed and replaced at each change
}

// New binds the gossip port and waits for others; it contacts nobody before SetPeers.
func New(cfg Config) (*Pool, error) {
	p := &Pool{cfg: cfg, log: cfg.Logger.With("component", "gossip"), down: map[string]bool{}, addrs: map[string]string{}, changed: make(chan struct{})}
	if len(cfg.Keys) == 0 {
		return nil, errors.New("start gossip: no encryption key")
	}
	ring, err := memberlist.NewKeyring(cfg.Keys, cfg.Keys[0])
	if err != nil {
		return nil, fmt.Errorf("start gossip: read keys: %w", err)
	}
	p.keyring = ring
	p.list, err = memberlist.Create(p.tuned())
	if err != nil {
		return nil, fmt.Errorf("start gossip on %s: %w", netip.AddrPortFrom(cfg.Addr, cfg.Port), err)
	}
	return p, nil
}

// tuned starts from memberlist's LAN profile and shortens what stands between a death and its knowledge:
// a probe (0.2 s), its failure (0.2 s) and the suspicion (0.6 s, shorter when others confirm).
func (p *Pool) tuned() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = p.cfg.NodeID
	c.BindAddr, c.AdvertiseAddr = p.cfg.Addr.String(), p.cfg.Addr.String()
	c.BindPort, c.AdvertisePort = int(p.cfg.Port), int(p.cfg.Port)
	c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 130*time.Millisecond
	c.GossipInterval, c.GossipNodes = 60*time.Millisecond, 4
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	c.TCPTimeout = 2 * time.Second
	c.PushPullInterval = 10 * time.Second
	c.GossipToTheDeadTime = 20 * time.Second
	c.DeadNodeReclaimTime = time.Millisecond // identity is not address: a node may come back elsewhere, at once
	c.AwarenessMaxMultiplier = 2             // hosts that die together make the others doubt themselves; more than that takes too long
	c.Keyring = p.keyring
	c.Events = p
	c.Logger = log.New(io.Discard, "", 0)
	return c
}

// SetPeers replaces the contact points (HOST:PORT of any members). Run keeps trying those it is not joined with.
func (p *Pool) SetPeers(peers []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers = slices.Clone(peers)
	p.bump()
}

// SetKeys makes keys the whole keyring; the first encrypts from now on.
func (p *Pool) SetKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("set gossip keys: none given")
	}
	for _, k := range keys {
		if err := p.keyring.AddKey(k); err != nil {
			return fmt.Errorf("add gossip key: %w", err)
		}
	}
	if err := p.keyring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("use gossip key: %w", err)
	}
	for _, old := range p.keyring.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return slices.Equal(k, old) }) {
			if err := p.keyring.RemoveKey(old); err != nil {
				return fmt.Errorf("remove gossip key: %w", err)
			}
		}
	}
	return nil
}

// Run keeps this node joined until ctx ends, then says goodbye to nobody: a daemon that restarts is not a node that leaves.
func (p *Pool) Run(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		changed := p.Changed()
		p.join()
		select {
		case <-ctx.Done():
			return p.list.Shutdown()
		case <-changed:
		case <-retry.C:
		}
	}
}

// Leave tells the others that this node goes for good.
func (p *Pool) Leave(timeout time.Duration) error {
	if err := p.list.Leave(timeout); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// join contacts the peers that are not members yet. Failures are normal (a dead host is a peer too) and retried.
func (p *Pool) join() {
	known := map[string]bool{p.self(): true}
	p.mu.Lock()
	for _, a := range p.addrs {
		known[a] = true
	}
	missing := slices.DeleteFunc(slices.Clone(p.peers), func(a string) bool { return known[a] })
	p.mu.Unlock()
	if len(missing) == 0 {
		return
	}
	if n, err := p.list.Join(missing); n == 0 && err != nil {
		p.log.Debug("no gossip peer answers", "peers", missing, "error", err)
	}
}

func (p *Pool) self() string { return netip.AddrPortFrom(p.cfg.Addr, p.cfg.Port).String() }

// Down returns the nodes that were members once and no longer answer.
func (p *Pool) Down() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.down)
}

// Members returns the IDs of the nodes that answer, this one included.
func (p *Pool) Members() []string {
	var ids []string
	for _, m := range p.list.Members() {
		ids = append(ids, m.Name)
	}
	slices.Sort(ids)
	return ids
}

// Changed returns a channel that is closed at the next change of Down.
func (p *Pool) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// seen notes where a member is. memberlist changes its own rows while others read them, so they are read only in its events.
func (p *Pool) seen(n *memberlist.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs[n.Name] = net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}

func (p *Pool) set(node string, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if down {
		delete(p.addrs, node)
	}
	if p.down[node] == down {
		return
	}
	if down {
		p.down[node] = true
	} else {
		delete(p.down, node)
	}
	p.bump()
	p.log.Info("node changed", "node", node, "down", down)
}

// bump wakes those who wait for a change; the caller holds mu.
func (p *Pool) bump() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// NotifyJoin, NotifyLeave and NotifyUpdate are memberlist's events.
func (p *Pool) NotifyJoin(n *memberlist.Node) {
	p.seen(n)
	p.set(n.Name, false)
}

// NotifyLeave is called for the dead and for those who left.
func (p *Pool) NotifyLeave(n *memberlist.Node) {
	if n.Name != p.cfg.NodeID {
		p.set(n.Name, true)
	}
}

// NotifyUpdate is called when a member has changed its address: members carry no data.
func (p *Pool) NotifyUpdate(n *memberlist.Node) { p.seen(n) }
