//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/shoal-dev/shoal/agent"
	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/overlay/dns"
	"github.com/shoal-dev/shoal/overlay/gossip"
	"github.com/shoal-dev/shoal/proto/api"
)

// member is this node's part in a cluster, from init or join (or the daemon's start) to leave (or its end).
type member struct {
	node  *Node
	log   *slog.Logger
	state state
	id    *identity.Identity

	overlay *overlay.Overlay
	dns     *dns.Server
	agent   *agent.Agent
	renewer *ca.Renewer
	live    *liveness

	sessions chan *api.SessionMessage // capacity 1: the newest counts
	joined   chan struct{}            // closed with the first session
	joinOnce sync.Once

	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed

	mu   sync.Mutex
	boss *boss // nil unless this node is a manager
	pool *gossip.Pool
}

// newMember puts the parts together; begin starts them.
func newMember(n *Node, st state, id *identity.Identity) (*member, error) {
	m := &member{
		node: n, log: n.log, state: st, id: id, live: newLiveness(),
		sessions: make(chan *api.SessionMessage, 1), joined: make(chan struct{}), done: make(chan struct{}),
	}
	m.dns = dns.New(func() []string { return dns.HostResolvers("/etc/resolv.conf") }, n.log)
	var err error
	m.overlay, err = overlay.New(overlay.Config{
		NodeID: id.NodeID(), RunDir: n.cfg.RunDir, VTEP: n.addr(st.DataPathAddr), Port: uint16(st.DataPathPort),
		OnSandbox: m.listenDNS, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	m.agent, err = agent.New(agent.Config{
		Dir: n.cfg.DataDir, NodeID: id.NodeID(), Managers: st.Managers, Dial: m.dial,
		Engine: engineAdapter{n.engine}, Overlay: network{m.overlay, m.dns},
		Description: m.describe, ManagerStatus: m.managerStatus,
		AdvertiseAddr: st.AdvertiseAddr, DataPathAddr: st.DataPathAddr, GossipPort: n.cfg.GossipPort,
		OnSession: m.onSession, OnRemoved: m.onRemoved, Logger: n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	m.renewer = ca.NewRenewer(id, m.issue, n.log)
	return m, nil
}

// begin runs everything until ctx or the membership ends. A part that fails ends all, and info shows why.
func (m *member) begin(ctx context.Context, force bool) error {
	ctx, m.cancel = context.WithCancel(ctx)
	if m.id.Role() == identity.Manager {
		if err := m.promote(ctx, force); err != nil {
			m.cancel()
			close(m.done)
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for name, loop := range map[string]func(context.Context) error{
		"overlay": m.overlay.Run, "dns": m.dns.Run, "agent": m.agent.Run, "certificates": m.renewer.Run,
		"sessions": m.followSessions, "role": m.followRole, "liveness": m.followLiveness,
	} {
		g.Go(func() error {
			if err := loop(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	go func() {
		m.err = g.Wait()
		m.demote()
		close(m.done)
		if m.err != nil {
			m.log.Error("cluster membership ended", "err", m.err)
		}
	}()
	return nil
}

// end stops everything and waits for it.
func (m *member) end() {
	m.cancel()
	<-m.done
}

// network hands the network view to both who need it.
type network struct {
	*overlay.Overlay
	dns *dns.Server
}

func (n network) Set(d overlay.Desired) {
	n.dns.Set(d)
	n.Overlay.Set(d)
}

// listenDNS makes DNS listen wherever containers reach this node.
func (m *member) listenDNS(all []overlay.Sandbox) {
	listeners := make([]dns.Listener, 0, len(all))
	for _, s := range all {
		listeners = append(listeners, dns.Listener{NetworkID: s.NetworkID, NetNS: s.Path, Addrs: s.Gateways})
	}
	m.dns.Listen(listeners)
}

// dial connects to a manager with this node's certificate.
func (m *member) dial(_ context.Context, addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:"+addr, grpc.WithTransportCredentials(credentials.NewTLS(m.id.ClientTLS("", "h2"))), grpc.WithKeepaliveParams(keepaliveParams))
}

// issue asks any manager for a certificate.
func (m *member) issue(ctx context.Context, r *api.IssueRequest) (*api.IssueResponse, error) {
	if b := m.currentBoss(); b != nil {
		return b.manager.Issue(ctx, r)
	}
	errs := []error{errors.New("no manager is known")}
	for _, addr := range m.managerAddrs() {
		conn, err := m.dial(ctx, addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		resp, err := api.NewCAClient(conn).Issue(ctx, r)
		conn.Close()
		if err == nil {
			return resp, nil
		}
		errs = append(errs, err)
	}
	return nil, errs[len(errs)-1]
}

// managerAddrs are the managers as last told, or those known from joining.
func (m *member) managerAddrs() []string {
	var addrs []string
	for _, w := range m.agent.Managers() {
		addrs = append(addrs, w.Addr)
	}
	if len(addrs) == 0 {
		addrs = m.state.Managers
	}
	return addrs
}

func (m *member) describe() *api.NodeDescription {
	return describe(m.node.cfg.Hostname, m.node.cfg.Version)
}

func (m *member) onSession(s *api.SessionMessage) {
	for {
		select {
		case m.sessions <- s:
			return
		default:
		}
		select {
		case <-m.sessions: // an older one that nobody has read yet
		default:
		}
	}
}

func (m *member) onRemoved(err error) {
	m.log.Error("this node was removed from the cluster: run 'shoal cluster leave', then join again", "err", err)
	m.node.setBroken(fmt.Errorf("removed from the cluster: run 'shoal cluster leave', then join again"))
}

// followSessions acts on what managers say of this node and of gossip.
func (m *member) followSessions(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case s := <-m.sessions:
				if err := m.session(ctx, g, s); err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}

func (m *member) session(ctx context.Context, g *errgroup.Group, s *api.SessionMessage) error {
	m.joinOnce.Do(func() { close(m.joined) })
	if s.Node != nil {
		m.renewer.Want(s.Node.Spec.GetRole())
	}
	if len(s.GossipKeys) == 0 {
		return nil
	}
	if m.pool == nil {
		pool, err := gossip.New(gossip.Config{NodeID: m.id.NodeID(), Addr: netip.MustParseAddr(m.state.AdvertiseAddr), Port: m.node.cfg.GossipPort, Keys: s.GossipKeys, Logger: m.log})
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.pool = pool
		m.mu.Unlock()
		g.Go(func() error { return pool.Run(ctx) })
		m.live.follow(pool)
	} else if err := m.pool.SetKeys(s.GossipKeys); err != nil {
		m.log.Warn("gossip keys were not taken", "err", err)
	}
	m.pool.SetPeers(s.GossipPeers)
	return nil
}

// followLiveness carries gossip's word to all who balance.
func (m *member) followLiveness(ctx context.Context) error {
	for {
		changed := m.live.Changed()
		down := m.live.Down()
		m.overlay.SetDown(down)
		m.dns.SetDown(down)
		m.agent.SetDown(down)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// followRole starts and stops the manager as the certificate says.
func (m *member) followRole(ctx context.Context) error {
	for {
		changed := m.id.Changed()
		role := m.id.Role()
		boss := m.currentBoss()
		switch {
		case role == identity.Manager && boss == nil:
			m.log.Info("this node becomes a manager")
			if err := m.promote(ctx, false); err != nil {
				return err
			}
			m.agent.Announce()
		case role == identity.Worker && boss != nil:
			m.log.Info("this node is no manager any more")
			m.demote()
			if err := os.RemoveAll(filepath.Join(m.node.cfg.DataDir, "raft")); err != nil {
				return err
			}
			m.agent.Announce()
		}
		var ended chan struct{} // never, without a manager
		if boss = m.currentBoss(); boss != nil {
			ended = boss.done
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ended:
			if ctx.Err() == nil && m.id.Role() == identity.Manager {
				return boss.error()
			}
		}
	}
}

// resume takes up the membership that is on disk.
func (n *Node) resume() {
	st, err := loadState(n.cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		n.forgetTasks() // a leave or join that was cut short
		return
	}
	var id *identity.Identity
	if err == nil {
		id, err = identity.Load(n.certs())
	}
	if err == nil {
		err = n.enter(st, id, false)
	}
	if err != nil {
		n.setBroken(err)
		n.log.Error("cannot take up the cluster membership", "err", err)
	}
}

// enter makes this node a member and runs it in the background.
func (n *Node) enter(st state, id *identity.Identity, force bool) error {
	m, err := newMember(n, st, id)
	if err != nil {
		return err
	}
	if err := m.begin(n.ctx, force); err != nil {
		return err
	}
	n.mu.Lock()
	n.member, n.broken = m, nil
	n.mu.Unlock()
	return nil
}

func (n *Node) setBroken(err error) {
	n.mu.Lock()
	n.broken = err
	n.mu.Unlock()
}

// stopMember ends the membership's activity, not the membership.
func (n *Node) stopMember() {
	n.mu.Lock()
	m := n.member
	n.mu.Unlock()
	if m != nil {
		m.end()
	}
}

func (n *Node) certs() string { return filepath.Join(n.cfg.DataDir, "certs") }
