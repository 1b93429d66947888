//go:build linux

package node

import (
	"context"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-dev/shoal/overlay/gossip"
	"github.com/shoal-dev/shoal/proto/api"
)

// onSession hands a session message over without waiting. One that nobody has read yet is replaced: each says all.
func (m *member) onSession(s *api.SessionMessage) {
	for {
		select {
		case m.sessions <- s:
			return
		default:
		}
		select {
		case <-m.sessions:
		default:
		}
	}
}

// onRemoved hears that managers do not know this node. It may be that its row is young and the manager behind: the next
// session takes it back. When it is sure, the agent has stopped its tasks.
func (m *member) onRemoved(err error, sure bool) {
	if !m.removed.Swap(true) {
		m.log.Error("this node was removed from the cluster: run 'shoal cluster leave', then join again", "error", err)
	}
	m.stopped.Store(sure)
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
	m.removed.Store(false)
	m.stopped.Store(false)
	if s.Node != nil {
		m.renewer.Want(s.Node.Spec.GetRole())
	}
	if len(s.GossipKeys) == 0 {
		return nil
	}
	if err := m.gossip(ctx, g, s); err != nil {
		return err
	}
	m.joinOnce.Do(func() { close(m.joined) })
	return nil
}

// gossip starts the pool with the first session, and gives it the keys and contact points of each.
func (m *member) gossip(ctx context.Context, g *errgroup.Group, s *api.SessionMessage) error {
	pool := m.live.current()
	if pool == nil {
		var err error
		pool, err = gossip.New(gossip.Config{
			NodeID: m.id.NodeID(), Addr: netip.MustParseAddr(m.state.AdvertiseAddr), Port: m.node.cfg.GossipPort,
			Keys: s.GossipKeys, Logger: m.log,
		})
		if err != nil {
			return err
		}
		g.Go(func() error { return m.runGossip(ctx, pool) })
		m.live.follow(pool)
	} else if err := pool.SetKeys(s.GossipKeys); err != nil {
		m.log.Warn("gossip keys were not taken", "error", err)
	}
	pool.SetPeers(s.GossipPeers)
	return nil
}

// runGossip lets the pool live a little longer than ctx if this node leaves, so that nobody has to notice by himself.
func (m *member) runGossip(ctx context.Context, pool *gossip.Pool) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	goodbye := context.AfterFunc(ctx, func() {
		defer stop()
		if !m.leaving.Load() {
			return
		}
		if err := pool.Leave(goodbyeWait); err != nil {
			m.log.Debug("gossip was not told", "error", err)
		}
	})
	defer goodbye()
	return pool.Run(running)
}
