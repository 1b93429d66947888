//go:build linux

package node

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
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
		n.log.Error("not everything was removed, will try again", "error", left)
		n.setBroken(left)
	}
	return refused("%s: %v", what, err)
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
	if b := m.runningManager(); b != nil {
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
