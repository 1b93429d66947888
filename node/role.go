//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager"
	"github.com/shoal-dev/shoal/proto/api"
)

// promoteRetry is the pause after a manager could not be started while the node goes on as it is.
const promoteRetry = 2 * time.Second

// followRole starts and stops the manager as the certificate says.
func (m *member) followRole(ctx context.Context) error {
	for {
		changed := m.id.Changed()
		retry, err := m.takeRole(ctx)
		if err != nil {
			return err
		}
		var ended chan struct{} // never, without a manager
		running := m.runningManager()
		if running != nil {
			ended = running.done
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		case <-ended:
			if ctx.Err() == nil && m.id.Role() == identity.Manager {
				return running.error()
			}
		}
	}
}

// takeRole compares the certificate with what runs. A manager that cannot be started is tried again: retry says when.
func (m *member) takeRole(ctx context.Context) (retry <-chan time.Time, err error) {
	runs := m.runningManager() != nil
	switch m.id.Role() {
	case identity.Manager:
		if runs {
			return nil, nil
		}
		m.log.Info("this node becomes a manager")
		if err := m.promote(ctx, false); err != nil {
			m.log.Error("this node should be a manager, will try again", "error", err)
			m.setNotRunning(err)
			return time.After(promoteRetry), nil
		}
	case identity.Worker:
		m.setNotRunning(nil)
		if runs {
			m.log.Info("this node is no manager any more")
			m.demote()
		}
		// Also where no manager ran: the daemon may have ended before this. What is left would pass for membership later.
		if err := os.RemoveAll(filepath.Join(m.node.cfg.DataDir, "raft")); err != nil {
			return nil, fmt.Errorf("remove the manager's log: %w", err)
		}
		if !runs {
			return nil, nil
		}
	}
	m.agent.Announce()
	return nil, nil
}

// promote starts the manager.
func (m *member) promote(ctx context.Context, force bool) error {
	if err := wholeLog(m.node.cfg.DataDir); err != nil {
		return err
	}
	advertise := m.clusterAddr()
	pipe := newPipeListener()
	conn, err := pipe.connect()
	if err != nil {
		return err
	}
	mgr, err := manager.New(manager.Config{
		Dir: m.node.cfg.DataDir, Identity: m.id, ListenAddr: m.state.ListenAddr, AdvertiseAddr: advertise,
		Managers: without(m.managerAddrs(), advertise), ForceNewCluster: force, Liveness: m.live, CheckSettings: checkSettings, RaftTick: m.node.cfg.RaftTick, Logger: m.log,
	})
	if err != nil {
		conn.Close()
		return m.notStarted(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &runningManager{manager: mgr, conn: conn, cancel: cancel, done: make(chan struct{})}
	b.server = grpc.NewServer(
		grpc.ChainUnaryInterceptor(mgr.UnaryInterceptor), grpc.ChainStreamInterceptor(mgr.StreamInterceptor),
		grpc.MaxRecvMsgSize(maxMessage),
	)
	mgr.Register(b.server)
	b.run(ctx, pipe)
	m.mu.Lock()
	m.running, m.notRunning = b, nil
	m.mu.Unlock()
	return nil
}

// notStarted says what to do where that is known.
func (m *member) notStarted(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("another program listens on %s: stop it, or give another port with --listen-addr", m.state.ListenAddr)
	}
	return fmt.Errorf("start manager: %w", err)
}

// demote ends the manager and waits for it.
func (m *member) demote() {
	m.mu.Lock()
	b := m.running
	m.running = nil
	m.mu.Unlock()
	if b == nil {
		return
	}
	b.cancel()
	<-b.done
	b.conn.Close()
}

func (m *member) setNotRunning(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notRunning = err
}

// clusterAddr is HOST:PORT where others reach this node's manager.
func (m *member) clusterAddr() string {
	listen, _ := netip.ParseAddrPort(m.state.ListenAddr)
	return netip.AddrPortFrom(m.node.addr(m.state.AdvertiseAddr), listen.Port()).String()
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == s })
}

// managerStatus is what a session says of the manager here.
func (m *member) managerStatus() *api.ManagerStatus {
	if m.runningManager() == nil {
		return nil
	}
	return &api.ManagerStatus{Addr: m.clusterAddr()}
}
