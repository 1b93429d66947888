package raft

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// member is one manager of a test: a Node over plain TCP, whose connections can be cut.
type member struct {
	*Node
	store *store.Store
	net   *wire
}

// wire is a listener that can be cut off with all its connections, as if a cable were pulled.
type wire struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func (w *wire) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.keep(c)
	}
	return c, err
}

func (w *wire) keep(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	if w.cut {
		c.Close()
	}
}

func (w *wire) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err == nil {
		w.keep(c)
	}
	return c, err
}

func (w *wire) pull() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	w.Listener.Close()
	for _, c := range w.conns {
		c.Close()
	}
}

func start(t *testing.T, dir, id string, bootstrap bool) *member {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	w := &wire{Listener: l}
	n, err := New(Config{Dir: filepath.Join(dir, id), ID: id, Addr: l.Addr().String(), Listener: w, Dial: w.dial, Tick: 150 * time.Millisecond})
	check(t, err)
	if bootstrap {
		check(t, n.Bootstrap())
	}
	m := &member{Node: n, store: store.New(n), net: w}
	check(t, n.Start(m.store))
	t.Cleanup(func() { n.Close() })
	go func() { // office is watched by package manager, not here
		for range n.Lead() {
		}
	}()
	return m
}

func (m *member) put(name string) error {
	return m.store.Update(context.Background(), func(tx *store.Tx) error {
		return tx.Services().Create(&api.Service{Id: name, Spec: &api.ServiceSpec{Name: name}})
	})
}

func (m *member) has(name string) (ok bool) {
	m.store.View(func(tx *store.Tx) { ok = tx.Services().Get(name) != nil })
	return ok
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for: %s", what)
		}
	}
}

func leaderOf(t *testing.T, ms ...*member) (lead *member) {
	t.Helper()
	eventually(t, "a leader", func() bool {
		for _, m := range ms {
			if _, err := m.Term(context.Background()); err == nil {
				lead = m
				return true
			}
		}
		return false
	})
	return lead
}

func three(t *testing.T, dir string) []*member {
	t.Helper()
	ms := []*member{start(t, dir, "a", true)}
	leaderOf(t, ms[0])
	for _, id := range []string{"b", "c"} {
		m := start(t, dir, id, false)
		for _, other := range ms {
			check(t, m.SetPeer(other.cfg.ID, other.cfg.Addr))
			check(t, other.SetPeer(id, m.cfg.Addr))
		}
		check(t, ms[0].AddVoter(id, m.cfg.Addr, 5*time.Second))
		ms = append(ms, m)
	}
	return ms
}

func TestLeaderLossKeepsWrites(t *testing.T) {
	ms := three(t, t.TempDir())
	var acked []string
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		check(t, ms[0].put(name))
		acked = append(acked, name)
	}
	ms[0].net.pull()
	lead := leaderOf(t, ms[1:]...)
	check(t, lead.put("after"))
	for _, m := range ms[1:] {
		eventually(t, "all rows on "+m.cfg.ID, func() bool { return m.has("after") })
		for _, name := range acked {
			if !m.has(name) {
				t.Errorf("manager %s lost the acknowledged %s", m.cfg.ID, name)
			}
		}
	}
	if err := ms[0].put("split"); err == nil {
		t.Error("the leader that was cut off accepted a write")
	}
	eventually(t, "the dead manager seen as unreachable", func() bool {
		for _, m := range lead.Status().Members {
			if m.ID == "a" {
				return !m.Reachable
			}
		}
		return false
	})
}

func TestRestartRemoveForceNew(t *testing.T) {
	dir := t.TempDir()
	ms := three(t, dir)
	check(t, ms[0].put("one"))
	check(t, ms[0].Snapshot())
	check(t, ms[0].put("two"))
	check(t, ms[0].Remove("c", 5*time.Second))
	if got := len(ms[0].Status().Members); got != 2 {
		t.Errorf("%d members after a removal, want 2", got)
	}
	check(t, ms[0].Transfer())
	leaderOf(t, ms[1])
	for _, m := range ms {
		check(t, m.Close())
	}

	// With b lost for good, a has no quorum, until it is made the only one.
	n, err := New(Config{Dir: filepath.Join(dir, "a"), ID: "a", Addr: "127.0.0.1:1"})
	check(t, err)
	if has, err := n.HasState(); !has || err != nil {
		t.Fatalf("state on disk: %v, %v", has, err)
	}
	check(t, n.ForceNew())
	check(t, n.logs.Close())
	a := start(t, dir, "a", false)
	leaderOf(t, a)
	check(t, a.put("three"))
	for _, name := range []string{"one", "two", "three"} {
		if !a.has(name) {
			t.Errorf("%s is lost", name)
		}
	}
	if got := len(a.Status().Members); got != 1 {
		t.Errorf("%d members, want 1", got)
	}
}

func TestSnapshotReachesNewMember(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, "a", true)
	leaderOf(t, a)
	check(t, a.store.Update(context.Background(), func(tx *store.Tx) error {
		for i := range 3000 {
			if err := tx.Tasks().Create(&api.Task{Id: fmt.Sprintf("t%d", i), ServiceName: "a plain marker"}); err != nil {
				return err
			}
		}
		return nil
	}))
	check(t, a.Snapshot())
	check(t, a.logs.DeleteRange(0, 1<<40)) // only the snapshot is left
	b := start(t, dir, "b", false)
	check(t, b.SetPeer("a", a.cfg.Addr))
	check(t, a.AddVoter("b", b.cfg.Addr, 5*time.Second))
	eventually(t, "the rows", func() bool {
		got := 0
		b.store.View(func(tx *store.Tx) { got = len(tx.Tasks().List()) })
		return got == 3000
	})
}

var _ io.Closer = (*Node)(nil)
