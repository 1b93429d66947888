//go:build linux

package node

import (
	"context"
	"errors"
	"io/fs"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// InitCluster makes a cluster with this node as its first manager.
func (l *local) InitCluster(ctx context.Context, r *api.InitClusterRequest) (*api.InitClusterResponse, error) {
	n := l.node
	n.change.Lock()
	defer n.change.Unlock()
	if err := manager.CheckSpec(r.Spec); err != nil {
		return nil, err
	}
	if r.ForceNewCluster {
		return n.forceNew(ctx, r)
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
		err = n.begin(ctx, st, ident, false)
	}
	if err != nil {
		return nil, n.giveUp("cannot make a cluster", err)
	}
	return n.initialized(st)
}

// initialized tells the user how others can join.
func (n *Node) initialized(st state) (*api.InitClusterResponse, error) {
	m, _ := n.current()
	b := m.runningManager()
	if b == nil {
		return nil, refused("the manager has ended again: see 'shoal cluster info'")
	}
	r := &api.InitClusterResponse{NodeId: m.id.NodeID(), Addr: st.Managers[0]}
	b.manager.Store().View(func(tx *store.Tx) {
		r.WorkerToken, r.ManagerToken = tx.Cluster().GetWorkerToken(), tx.Cluster().GetManagerToken()
	})
	return r, nil
}

// forceNew makes this manager the only one, when the majority of the others is lost for good. Everything it knows
// stays. The host may have another address by now: the request says so.
func (n *Node) forceNew(ctx context.Context, r *api.InitClusterRequest) (*api.InitClusterResponse, error) {
	old, err := loadState(n.cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refused("there is no cluster here to be forced: run 'shoal cluster init'")
	}
	var id *identity.Identity
	if err == nil {
		id, err = identity.Load(n.certs())
	}
	if err != nil {
		return nil, refused("cannot force a new cluster: %v", err)
	}
	if r.Spec != nil {
		return nil, invalid("--force-new-cluster keeps the cluster's settings: give none")
	}
	if id.Role() != identity.Manager {
		return nil, refused("this node is a worker: only a manager has the cluster's state")
	}
	st, err := n.where(or(r.AdvertiseAddr, old.AdvertiseAddr), or(r.ListenAddr, old.ListenAddr), or(r.DataPathAddr, old.DataPathAddr))
	if err != nil {
		return nil, err
	}
	st.DataPathPort, st.AdvertiseWish = old.DataPathPort, or(r.AdvertiseAddr, old.AdvertiseWish)
	n.stopMember()
	if err := n.begin(ctx, st, id, true); err != nil {
		n.setBroken(err)
		return nil, refused("cannot force a new cluster: %v", err)
	}
	return n.initialized(st)
}
