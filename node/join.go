//go:build linux

package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// activeWait bounds how long init and join wait for the node's first session after everything has been started.
const activeWait = 15 * time.Second

// where reads the addresses of a request, the daemon's flags filling in what it leaves out.
func (n *Node) where(advertise, listen, dataPath string) (state, error) {
	adv, err := address("--advertise-addr", or(advertise, n.cfg.AdvertiseAddr))
	if err != nil {
		return state{}, invalid("%v", err)
	}
	data, err := address("--data-path-addr", or(dataPath, n.cfg.DataPathAddr, adv.String()))
	if err != nil {
		return state{}, invalid("%v", err)
	}
	bind, err := splitListen(or(listen, n.cfg.ListenAddr), adv, ClusterPort)
	if err != nil {
		return state{}, invalid("%v", err)
	}
	return state{
		ListenAddr: bind.String(), AdvertiseAddr: adv.String(), DataPathAddr: data.String(), DataPathPort: uint32(n.cfg.DataPathPort),
		Managers: []string{netip.AddrPortFrom(adv, bind.Port()).String()},
	}, nil
}

func or(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// outside refuses to begin a second membership.
func (n *Node) outside() error {
	m, broken := n.current()
	if m == nil && broken == nil {
		return nil
	}
	return refused("this node is already in a cluster: run 'shoal cluster leave' first")
}

// InitCluster makes a cluster with this node as its first manager.
func (l *local) InitCluster(ctx context.Context, r *api.InitClusterRequest) (*api.InitClusterResponse, error) {
	n := l.node
	n.change.Lock()
	defer n.change.Unlock()
	if r.ForceNewCluster {
		return n.forceNew(ctx)
	}
	if err := n.outside(); err != nil {
		return nil, err
	}
	st, err := n.where(r.AdvertiseAddr, r.ListenAddr, r.DataPathAddr)
	if err != nil {
		return nil, err
	}
	ident, err := manager.Init(ctx, manager.InitConfig{
		Dir: n.cfg.DataDir, CertDir: n.certs(), AdvertiseAddr: st.Managers[0], Spec: r.Spec, DataPathPort: st.DataPathPort, Logger: n.log,
	})
	if err == nil {
		err = st.save(n.cfg.DataDir)
	}
	if err == nil {
		err = n.enter(st, ident, false)
	}
	if err == nil {
		err = n.awaitActive(ctx)
	}
	if err != nil {
		n.forget()
		return nil, refused("cannot make a cluster: %v", err)
	}
	return n.initialized(st), nil
}

// initialized tells the user how others can join.
func (n *Node) initialized(st state) *api.InitClusterResponse {
	m, _ := n.current()
	r := &api.InitClusterResponse{NodeId: m.id.NodeID(), Addr: st.Managers[0]}
	m.currentBoss().manager.Store().View(func(tx *store.Tx) {
		r.WorkerToken, r.ManagerToken = tx.Cluster().GetWorkerToken(), tx.Cluster().GetManagerToken()
	})
	return r
}

// forceNew makes this manager the only one, when the majority of the others is lost for good. Everything it knows stays.
func (n *Node) forceNew(ctx context.Context) (*api.InitClusterResponse, error) {
	m, broken := n.current()
	if m == nil {
		if broken != nil {
			return nil, refused("%v", broken)
		}
		return nil, refused("there is no cluster here to be forced: run 'shoal cluster init'")
	}
	if m.id.Role() != identity.Manager {
		return nil, refused("this node is a worker: only a manager has the cluster's state")
	}
	m.end()
	if err := n.enter(m.state, m.id, true); err != nil {
		n.setBroken(err)
		return nil, refused("cannot force a new cluster: %v", err)
	}
	if err := n.awaitActive(ctx); err != nil {
		return nil, refused("cannot force a new cluster: %v", err)
	}
	return n.initialized(m.state), nil
}

// JoinCluster makes this node a member of an existing cluster.
func (l *local) JoinCluster(ctx context.Context, r *api.JoinClusterRequest) (*api.JoinClusterResponse, error) {
	n := l.node
	n.change.Lock()
	defer n.change.Unlock()
	if err := n.outside(); err != nil {
		return nil, err
	}
	remote, err := remoteAddr(r.Remote)
	if err != nil {
		return nil, err
	}
	st, err := n.where(r.AdvertiseAddr, r.ListenAddr, r.DataPathAddr)
	if err != nil {
		return nil, err
	}
	ident, issued, err := ca.Join(ctx, n.certs(), remote, r.Token)
	if err != nil {
		n.forget()
		return nil, err
	}
	st.DataPathPort = issued.DataPathPort
	if st.Managers = issued.Managers; len(st.Managers) == 0 {
		st.Managers = []string{remote}
	}
	if err = st.save(n.cfg.DataDir); err == nil {
		err = n.enter(st, ident, false)
	}
	if err == nil {
		err = n.awaitActive(ctx)
	}
	if err != nil {
		n.forget()
		return nil, refused("cannot join: %v", err)
	}
	return &api.JoinClusterResponse{NodeId: ident.NodeID(), Role: issued.Role}, nil
}

func remoteAddr(s string) (string, error) {
	if s == "" {
		return "", invalid("name a manager to join: HOST:PORT")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), strconv.Itoa(ClusterPort)
	}
	if host == "" || port == "" {
		return "", invalid("manager %q: write HOST:PORT", s)
	}
	return net.JoinHostPort(host, port), nil
}

// awaitActive returns once a manager has spoken to this node, or says why that did not happen.
func (n *Node) awaitActive(ctx context.Context) error {
	m, _ := n.current()
	late := time.NewTimer(activeWait)
	defer late.Stop()
	select {
	case <-m.joined:
		return nil
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errors.New("no manager opened a session within 15s: is the cluster port open between the nodes?")
	}
}

// forget ends the membership and removes all of it from disk; containers of tasks go too.
func (n *Node) forget() {
	n.stopMember()
	n.mu.Lock()
	m := n.member
	n.member, n.broken = nil, nil
	n.mu.Unlock()
	n.forgetTasks()
	if m != nil {
		if err := m.overlay.Cleanup(n.ctx); err != nil {
			n.log.Error("overlay was not removed fully", "err", err)
		}
	}
	for _, name := range []string{"cluster.json", "agent.db", "raft", "certs"} {
		if err := os.RemoveAll(filepath.Join(n.cfg.DataDir, name)); err != nil {
			n.log.Error("membership was not removed fully", "file", name, "err", err)
		}
	}
}
