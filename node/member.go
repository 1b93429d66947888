//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/keepalive"

	"github.com/shoal-dev/shoal/agent"
	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/nameserver"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/overlay/dns"
	"github.com/shoal-dev/shoal/proto/api"
)

// fabric is what a member needs of the overlay. *overlay.Overlay is one.
type fabric interface {
	agent.Overlay
	Run(ctx context.Context) error
	SetDown(nodes map[string]bool)
	Check(ctx context.Context) ([]string, error)
	Cleanup(ctx context.Context) error
	Close()
}

// member is this node's part in a cluster, from init or join (or the daemon's start) to leave (or its end).
type member struct {
	node  *Node
	log   *slog.Logger
	state state
	id    *identity.Identity

	overlay fabric
	dns     *dns.Server
	agent   *agent.Agent
	renewer *ca.Renewer
	live    *liveness

	sessions chan *api.SessionMessage // capacity 1: the newest counts
	joined   chan struct{}            // closed when a manager has spoken to this node and gossip runs
	joinOnce sync.Once

	leaving atomic.Bool // it ends for good: gossip says goodbye
	removed atomic.Bool // managers say that they do not know this node
	stopped atomic.Bool // so many, for so long, that its tasks were stopped

	cancel context.CancelFunc
	done   chan struct{}
	err    error // why it ended, if it was not asked to; valid once done is closed

	mu         sync.Mutex
	running    *runningManager // nil unless this node is a manager
	notRunning error           // why it is nil although this node should be one
}

// newMember puts the parts together; begin starts them.
func newMember(n *Node, st state, id *identity.Identity) (*member, error) {
	m := &member{
		node: n, log: n.log, state: st, id: id, live: newLiveness(),
		sessions: make(chan *api.SessionMessage, 1), joined: make(chan struct{}), done: make(chan struct{}),
	}
	m.dns = dns.New(func() []nameserver.Resolver { return nameserver.HostResolvers("/etc/resolv.conf") }, n.log)
	var err error
	m.overlay, err = n.openOverlay(overlay.Config{
		NodeID: id.NodeID(), RunDir: n.cfg.RunDir, VTEP: n.addr(st.DataPathAddr), Port: uint16(st.DataPathPort),
		OnSandbox: m.listenDNS, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	if err := dropDamaged(n.cfg.DataDir, n.log); err != nil {
		m.overlay.Close()
		return nil, fmt.Errorf("open agent: %w", err)
	}
	m.agent, err = agent.New(agent.Config{
		Dir: n.cfg.DataDir, NodeID: id.NodeID(), Managers: st.Managers, Dial: m.dial,
		Engine: n.tasks, Overlay: network{m.overlay, m.dns},
		Description: m.describe, ManagerStatus: m.managerStatus,
		AdvertiseAddr: st.AdvertiseAddr, DataPathAddr: st.DataPathAddr, GossipPort: n.cfg.GossipPort,
		OnSession: m.onSession, OnRemoved: m.onRemoved, Logger: n.log,
	})
	if err != nil {
		m.overlay.Close()
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
			m.overlay.Close()
			return errors.Join(err, m.agent.Close())
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for name, loop := range map[string]func(context.Context) error{
		"overlay": m.overlay.Run, "dns": m.dns.Run, "agent": m.agent.Run, "certificates": m.renewer.Run,
		"sessions": m.followSessions, "role": m.followRole, "liveness": m.followLiveness,
	} {
		g.Go(func() error {
			if err := loop(gctx); err != nil && gctx.Err() == nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	go m.finish(g)
	return nil
}

// finish lets go of everything once all loops have ended.
func (m *member) finish(g *errgroup.Group) {
	m.err = g.Wait()
	m.demote()
	m.cancel()
	m.overlay.Close()
	if m.err != nil {
		m.log.Error("cluster membership broke", "error", m.err)
	}
	close(m.done)
}

// end stops everything and waits for it.
func (m *member) end() {
	m.cancel()
	<-m.done
}

func (m *member) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// trouble is what keeps a membership that runs from being whole, for info.
func (m *member) trouble() error {
	if m.removed.Load() && m.stopped.Load() {
		return errors.New("removed from the cluster: run 'shoal cluster leave', then join again; the tasks of its services were stopped here")
	}
	if m.removed.Load() {
		return errors.New("removed from the cluster: run 'shoal cluster leave', then join again")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.notRunning
}

// network hands the network view to both who need it.
type network struct {
	fabric
	dns *dns.Server
}

func (n network) Set(d overlay.Desired) {
	n.dns.Set(d)
	n.fabric.Set(d)
}

func (n network) Attach(ctx context.Context, a overlay.Attachment) error {
	n.dns.Attach(a)
	return n.fabric.Attach(ctx, a)
}

func (n network) Detach(ctx context.Context, id string) error {
	n.dns.Detach(id)
	return n.fabric.Detach(ctx, id)
}

// listenDNS makes DNS listen wherever containers reach this node.
func (m *member) listenDNS(all []overlay.Sandbox) {
	listeners := make([]dns.Listener, 0, len(all))
	for _, s := range all {
		listeners = append(listeners, dns.Listener{NetworkID: s.NetworkID, NetNS: s.Path, Addrs: s.Gateways})
	}
	m.dns.Listen(listeners)
}

// keepaliveParams let streams end that lead to a host that is gone; a session notices earlier, by its heartbeats. grpc
// takes no shorter time.
var keepaliveParams = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}

// issueTimeout bounds how long one manager keeps a request for a certificate from the next.
const issueTimeout = 3 * time.Second

func (m *member) describe() *api.NodeDescription {
	return describe(m.node.cfg.Hostname, m.node.cfg.Version)
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
