//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// boss is the manager of this node while it has the role, with the door through which the local socket reaches it.
type boss struct {
	manager *manager.Manager
	server  *grpc.Server
	conn    *grpc.ClientConn
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // valid once done is closed
}

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
		boss := m.currentBoss()
		if boss != nil {
			ended = boss.done
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		case <-ended:
			if ctx.Err() == nil && m.id.Role() == identity.Manager {
				return boss.error()
			}
		}
	}
}

// takeRole compares the certificate with what runs. A manager that cannot be started is tried again: retry says when.
func (m *member) takeRole(ctx context.Context) (retry <-chan time.Time, err error) {
	runs := m.currentBoss() != nil
	switch m.id.Role() {
	case identity.Manager:
		if runs {
			return nil, nil
		}
		m.log.Info("this node becomes a manager")
		if err := m.promote(ctx, false); err != nil {
			m.log.Error("this node should be a manager, will try again", "err", err)
			m.setNoBoss(err)
			return time.After(promoteRetry), nil
		}
	case identity.Worker:
		m.setNoBoss(nil)
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
	b := &boss{manager: mgr, conn: conn, cancel: cancel, done: make(chan struct{})}
	b.server = grpc.NewServer(
		grpc.ChainUnaryInterceptor(mgr.UnaryInterceptor), grpc.ChainStreamInterceptor(mgr.StreamInterceptor),
		grpc.MaxRecvMsgSize(maxMessage),
	)
	mgr.Register(b.server)
	b.run(ctx, pipe)
	m.mu.Lock()
	m.boss, m.noBoss = b, nil
	m.mu.Unlock()
	return nil
}

func (b *boss) run(ctx context.Context, pipe *pipeListener) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.server.Serve(pipe) }) // ends with Stop only
	wg.Go(func() {
		b.err = b.manager.Run(ctx)
		b.server.Stop()
	})
	go func() {
		wg.Wait()
		close(b.done)
	}()
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
	b := m.boss
	m.boss = nil
	m.mu.Unlock()
	if b == nil {
		return
	}
	b.cancel()
	<-b.done
	b.conn.Close()
}

func (m *member) currentBoss() *boss {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boss
}

func (m *member) setNoBoss(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noBoss = err
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
	if m.currentBoss() == nil {
		return nil
	}
	return &api.ManagerStatus{Addr: m.clusterAddr()}
}

// error is why the manager ended although this node should have one.
func (b *boss) error() error {
	if b.err == nil || errors.Is(b.err, context.Canceled) {
		return errors.New("the manager ended")
	}
	return fmt.Errorf("the manager ended: %w", b.err)
}

// manager is where the local socket passes requests on to, or why it cannot.
func (n *Node) manager() (*grpc.ClientConn, error) {
	m, broken := n.current()
	switch {
	case m == nil && broken == nil:
		return nil, errNoCluster()
	case m == nil || m.ended() && broken != nil:
		return nil, refused("this node's part in the cluster does not run: %v", broken)
	case m.ended():
		return nil, status.Errorf(codes.Unavailable, "this node's part in the cluster has ended and will be started again: %v", m.err)
	}
	if b := m.currentBoss(); b != nil {
		return b.conn, nil
	}
	if m.id.Role() == identity.Manager {
		return nil, status.Errorf(codes.Unavailable, "the manager of this node does not run: %v", or(errorText(m.trouble()), "it is starting, try again in a moment"))
	}
	return nil, refused("this node is a worker: run this on a manager%s", m.somewhere())
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// somewhere names managers that this worker knows.
func (m *member) somewhere() string {
	var hosts []string
	for _, a := range m.managerAddrs() {
		if h, _, err := net.SplitHostPort(a); err == nil {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", strings.Join(hosts, ", "))
}

// fillManagers adds what a manager knows of the cluster. It asks the other managers, but not for long.
func (m *member) fillManagers(ctx context.Context, c *api.ClusterInfo) {
	b := m.currentBoss()
	if b == nil {
		return
	}
	b.manager.Store().View(func(tx *store.Tx) {
		for _, n := range tx.Nodes().List() {
			c.Nodes++
			if n.Role == api.NodeRole_MANAGER {
				c.Managers++
			}
		}
	})
	leader, answer, _ := b.manager.Quorum(ctx)
	c.LeaderId, c.ManagersReachable = leader, int32(answer)
}

// voters counts the members of the Raft group, 0 if nobody can say.
func (m *member) voters(ctx context.Context) int {
	b := m.currentBoss()
	if b == nil {
		return 0
	}
	_, _, all := b.manager.Quorum(ctx)
	return all
}

const leaveTimeout = 10 * time.Second

// leaveGroup takes this manager out of the Raft group. The others may have done so, and this node may have heard of it,
// before the answer is here.
func (m *member) leaveGroup(ctx context.Context) error {
	b := m.currentBoss()
	if b == nil {
		return errors.New("the manager of this node does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	_, err := api.NewMembershipClient(b.conn).Leave(ctx, &api.MembershipLeaveRequest{NodeId: m.id.NodeID()})
	if m.id.Role() == identity.Worker {
		return nil
	}
	return err
}
