//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

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

// keepaliveParams notice a manager whose host is gone, where no packet says so.
var keepaliveParams = keepalive.ClientParameters{Time: 2 * time.Second, Timeout: 1500 * time.Millisecond, PermitWithoutStream: true}

// promote starts the manager.
func (m *member) promote(ctx context.Context, force bool) error {
	advertise := m.clusterAddr()
	mgr, err := manager.New(manager.Config{
		Dir: m.node.cfg.DataDir, Identity: m.id, ListenAddr: m.state.ListenAddr, AdvertiseAddr: advertise,
		Managers: without(m.managerAddrs(), advertise), ForceNewCluster: force, Liveness: m.live, Logger: m.log,
	})
	if err != nil {
		return fmt.Errorf("start manager: %w", err)
	}
	pipe := newPipeListener()
	conn, err := pipe.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &boss{manager: mgr, conn: conn, cancel: cancel, done: make(chan struct{})}
	b.server = grpc.NewServer(grpc.ChainUnaryInterceptor(mgr.UnaryInterceptor), grpc.ChainStreamInterceptor(mgr.StreamInterceptor))
	mgr.Register(b.server)
	var wg sync.WaitGroup
	wg.Go(func() { b.server.Serve(pipe) })
	wg.Go(func() { b.err = mgr.Run(ctx); b.server.Stop() })
	go func() { wg.Wait(); close(b.done) }()
	m.mu.Lock()
	m.boss = b
	m.mu.Unlock()
	return nil
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

// clusterAddr is HOST:PORT where others reach this node's manager.
func (m *member) clusterAddr() string {
	listen, _ := netip.ParseAddrPort(m.state.ListenAddr)
	return netip.AddrPortFrom(m.node.addr(m.state.AdvertiseAddr), listen.Port()).String()
}

func without(list []string, s string) []string {
	var rest []string
	for _, x := range list {
		if x != s {
			rest = append(rest, x)
		}
	}
	return rest
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
	if m == nil {
		if broken != nil {
			return nil, status.Error(codes.FailedPrecondition, broken.Error())
		}
		return nil, errNoCluster()
	}
	if b := m.currentBoss(); b != nil {
		return b.conn, nil
	}
	return nil, refused("this node is a worker: run this on a manager%s", m.somewhere())
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

// fillManagers adds what a manager knows of the cluster.
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
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	st, err := api.NewMembershipClient(b.conn).Status(ctx, &api.MembershipStatusRequest{})
	if err == nil {
		c.LeaderId = st.LeaderId
	}
	r, err := api.NewControlClient(b.conn).ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return
	}
	for _, n := range r.Nodes {
		if n.ManagerStatus.GetReachable() {
			c.ManagersReachable++
		}
	}
}

// voters counts the members of the Raft group, 0 if nobody can say.
func (m *member) voters(ctx context.Context) int {
	b := m.currentBoss()
	if b == nil {
		return 0
	}
	st, err := api.NewMembershipClient(b.conn).Status(ctx, &api.MembershipStatusRequest{})
	if err != nil {
		return 0
	}
	return len(st.Members)
}

// leaveGroup takes this manager out of the Raft group.
func (m *member) leaveGroup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := api.NewMembershipClient(m.currentBoss().conn).Leave(ctx, &api.MembershipLeaveRequest{NodeId: m.id.NodeID()})
	return err
}
