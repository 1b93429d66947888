package manager

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/manager/allocator"
	"github.com/shoal-dev/shoal/manager/orchestrator"
	"github.com/shoal-dev/shoal/manager/placement"
	"github.com/shoal-dev/shoal/manager/store"
)

// loop is something that only the leader does. It starts from the store's state, so it may be stopped at any point and
// begun by another manager.
type loop struct {
	name string
	run  func(ctx context.Context) error
}

// loops is all that the leader does beside answering requests.
func (m *Manager) loops() []loop {
	return []loop{
		{"nodes", m.dispatcher.Run},
		{"roles", m.keepRoles},
		{"allocator", allocator.New(m.store, m.log).Run},
		{"orchestrator", orchestrator.New(m.store, m.log).Run},
		{"placement", placement.New(m.store, m.log).Run},
	}
}

// loopPause is how long a loop that failed rests before it starts over.
const loopPause = time.Second

// lead runs the loops whenever this manager is the leader.
func (m *Manager) lead(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case leads := <-m.raft.Lead():
			for leads { // ended by losing office, or by having lost and regained it
				var err error
				if leads, err = m.hold(ctx); err != nil {
					return err
				}
			}
		}
	}
}

// hold runs the loops until the next change of office, and returns what it is. The loops have ended then.
func (m *Manager) hold(ctx context.Context) (leads bool, err error) {
	m.log.Info("this manager is the leader now")
	term, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return m.office(term) })
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case leads = <-m.raft.Lead():
		m.log.Info("this manager is not the leader any more")
	}
	cancel()
	_ = g.Wait()
	return leads, err
}

// office waits until this leader has applied what was committed before it, then runs the loops.
func (m *Manager) office(ctx context.Context) error {
	for m.takeOffice(ctx) != nil {
		if pause.For(ctx, retryPause) != nil {
			return ctx.Err()
		}
	}
	var g errgroup.Group
	for _, l := range m.loops() {
		g.Go(func() error { return m.keep(ctx, l) })
	}
	return g.Wait()
}

// takeOffice also makes workers of the other managers after a new cluster was forced, in the first term: later ones are new.
func (m *Manager) takeOffice(ctx context.Context) error {
	if err := m.raft.Barrier(ctx); err != nil || !m.forced.Load() {
		return err
	}
	err := m.forgetOthers(ctx)
	m.forced.Store(err != nil)
	return err
}

// keep runs a loop, again if it fails.
func (m *Manager) keep(ctx context.Context, l loop) error {
	for {
		err := l.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, store.ErrNotLeader) {
			m.log.Error("a loop of the leader failed, it starts over", "loop", l.name, "error", err)
		}
		if pause.For(ctx, loopPause) != nil {
			return ctx.Err()
		}
	}
}
