//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/internal/pause"
)

// How long keep waits before it takes up a membership again that could not be taken up, or has broken.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	calm       = time.Minute // a membership that held so long was no failed attempt
)

// keep takes up the membership that is on disk, and again when it breaks: a port that is taken, an address that is not
// there yet at boot or a full disk are often better a moment later. It returns when ctx ends.
func (n *Node) keep(ctx context.Context) error {
	retry, said := firstRetry, ""
	for ctx.Err() == nil {
		m, err := n.resume()
		if err != nil && err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			n.log.Error("cannot take up the cluster membership, will try again", "error", err)
		}
		began := time.Now()
		if err == nil && !n.broke(ctx, m) {
			said = ""
			continue
		}
		if time.Since(began) > calm {
			retry = firstRetry
		}
		pause.For(ctx, retry)
		retry = min(2*retry, lastRetry)
	}
	return nil
}

// broke waits for the end of a membership and tells whether it broke; without one it waits for the first.
func (n *Node) broke(ctx context.Context, m *member) bool {
	var ended chan struct{} // never, outside a cluster
	if m != nil {
		ended = m.done
	}
	select {
	case <-ctx.Done():
		return false
	case <-n.entered:
		return false
	case <-ended:
		return true
	}
}

// resume returns the membership that runs, takes up the one that is on disk, or removes what is left of one. Nil: this
// node is in no cluster.
func (n *Node) resume() (*member, error) {
	n.change.Lock()
	defer n.change.Unlock()
	if err := n.ctx.Err(); err != nil {
		return nil, err
	}
	if m, _ := n.current(); m != nil && !m.ended() {
		return m, nil
	}
	st, err := loadState(n.cfg.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = n.sweep(state{}) // an init or join that was cut short
		n.become(nil, err)
		return nil, err
	case err == nil && st.Leaving:
		err = n.sweep(st)
		n.become(nil, err)
		return nil, err
	}
	if err == nil {
		err = n.enterAgain(st)
	}
	if err != nil {
		n.setBroken(err)
		return nil, err
	}
	m, _ := n.current()
	return m, nil
}

// enterAgain is enter after a restart.
func (n *Node) enterAgain(st state) error {
	id, err := identity.Load(n.certs())
	if err != nil {
		return err
	}
	moved, err := n.relocate(st)
	if err != nil {
		return err
	}
	if moved.AdvertiseAddr != st.AdvertiseAddr {
		n.log.Info("this node's address has changed", "from", st.AdvertiseAddr, "to", moved.AdvertiseAddr)
		if err := moved.save(n.cfg.DataDir); err != nil {
			return err
		}
	}
	return n.enter(moved, id, false)
}

// enter makes this node a member and runs it in the background. The caller holds n.change.
func (n *Node) enter(st state, id *identity.Identity, force bool) error {
	m, err := newMember(n, st, id)
	if err != nil {
		return err
	}
	if err := m.begin(n.ctx, force); err != nil {
		return err
	}
	n.become(m, nil)
	select {
	case n.entered <- struct{}{}:
	default:
	}
	return nil
}

// relocate follows the host to another address: identity is not address. A wish counts, the daemon's flag after that of
// init or join; an address that was found without any is kept while the host has it, and found again when the default
// route leads through another. Without a route the host may still be booting, and what other links have is no better.
func (n *Node) relocate(st state) (state, error) {
	old, err := netip.ParseAddr(st.AdvertiseAddr)
	if err != nil {
		return st, fmt.Errorf("read %s: advertised address: %w", statePath(n.cfg.DataDir), err)
	}
	now := old
	if wish := or(st.AdvertiseWish, n.cfg.AdvertiseAddr); wish != "" {
		now, err = address("--advertise-addr", wish)
	} else if gone := hasAddress("the advertised address", old); gone != nil {
		routed, ok := routedAddress()
		if !ok {
			return st, fmt.Errorf("%w any more and there is no default route to find another by: give one with --advertise-addr", gone)
		}
		now = routed
	}
	if err != nil || now == old {
		return st, err
	}
	return st.at(old, now), nil
}

// at replaces this node's address wherever it stands.
func (s state) at(old, now netip.Addr) state {
	s.AdvertiseAddr = now.String()
	if s.DataPathAddr == old.String() {
		s.DataPathAddr = now.String()
	}
	listen, err := netip.ParseAddrPort(s.ListenAddr)
	if err != nil {
		return s
	}
	if listen.Addr() == old {
		s.ListenAddr = netip.AddrPortFrom(now, listen.Port()).String()
	}
	s.Managers = slices.Clone(s.Managers)
	for i, m := range s.Managers {
		if m == netip.AddrPortFrom(old, listen.Port()).String() {
			s.Managers[i] = netip.AddrPortFrom(now, listen.Port()).String()
		}
	}
	return s
}

func (n *Node) current() (*member, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.member, n.broken
}

func (n *Node) become(m *member, broken error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.member, n.broken = m, broken
}

func (n *Node) setBroken(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = err
}

// stopMember ends the membership's activity, not the membership.
func (n *Node) stopMember() {
	if m, _ := n.current(); m != nil {
		m.end()
	}
}

func (n *Node) certs() string { return filepath.Join(n.cfg.DataDir, "certs") }

// leftovers are the files of a membership. The state goes last: while it is there, a start goes on removing.
func (n *Node) leftovers() []string {
	var paths []string
	for _, name := range []string{"agent.db", "agent.db.damaged", "raft", "certs", "cluster.json"} {
		paths = append(paths, filepath.Join(n.cfg.DataDir, name))
	}
	return paths
}

// sweep removes what a membership has left: containers of tasks, networks, files.
func (n *Node) sweep(st state) error {
	err := errors.Join(n.forgetTasks(), n.clearNetworks(st))
	if err != nil {
		return fmt.Errorf("remove what is left of the cluster: %w", err)
	}
	for _, path := range n.leftovers() {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what is left of the cluster: %w", err)
		}
	}
	return nil
}
