//go:build linux

package node

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
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
	if err == nil && !bind.Addr().IsUnspecified() {
		err = hasAddress("--listen-addr", bind.Addr())
	}
	if err != nil {
		return state{}, invalid("%v", err)
	}
	return state{
		ListenAddr: bind.String(), AdvertiseAddr: adv.String(), DataPathAddr: data.String(), DataPathPort: uint32(n.cfg.DataPathPort),
		AdvertiseWish: advertise,
		Managers:      []string{netip.AddrPortFrom(adv, bind.Port()).String()},
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

// begin starts a membership that is to last, and waits until it works.
func (n *Node) begin(ctx context.Context, st state, id *identity.Identity, force bool) error {
	if err := st.save(n.cfg.DataDir); err != nil {
		return err
	}
	if err := n.enter(st, id, force); err != nil {
		return err
	}
	return n.awaitActive(ctx)
}

// giveUp leaves nothing behind of a membership that did not come to be.
func (n *Node) giveUp(what string, err error) error {
	if left := n.forget(); left != nil {
		n.log.Error("not everything was removed, will try again", "err", left)
		n.setBroken(left)
	}
	return refused("%s: %v", what, err)
}

// initialized tells the user how others can join.
func (n *Node) initialized(st state) (*api.InitClusterResponse, error) {
	m, _ := n.current()
	b := m.currentBoss()
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
	if remote == st.Managers[0] {
		return nil, invalid("%s is this node itself: name a manager of the cluster to join", remote)
	}
	ident, issued, err := ca.Join(ctx, n.certs(), remote, r.Token)
	if err != nil {
		return nil, err
	}
	st.DataPathPort = issued.DataPathPort
	if st.Managers = issued.Managers; len(st.Managers) == 0 {
		st.Managers = []string{remote}
	}
	if err := n.begin(ctx, st, ident, false); err != nil {
		return nil, n.giveUp("cannot join", err)
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

// awaitActive returns once a manager has spoken to this node and, if it is to be a manager, it is a member of the group;
// or it says why that did not happen.
func (n *Node) awaitActive(ctx context.Context) error {
	m, _ := n.current()
	late, cancel := context.WithTimeoutCause(ctx, activeWait, errors.New("no manager opened a session within 15s: is the cluster port open between the nodes?"))
	defer cancel()
	if b := m.currentBoss(); b != nil {
		if err := b.ready(late); err != nil {
			return err
		}
	}
	select {
	case <-m.joined:
		return nil
	case <-m.done:
		return cmp.Or(m.err, errors.New("the daemon is stopping"))
	case <-late.Done():
		return context.Cause(late)
	}
}

// ready waits until the manager takes part. If it ends instead, the membership does, and knows why.
func (b *boss) ready(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- b.manager.Ready(ctx) }()
	select {
	case err := <-waited:
		return err
	case <-b.done:
		return nil
	}
}
