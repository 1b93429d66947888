package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-dev/shoal/internal/poll"
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
	n, err := New(Config{Dir: filepath.Join(dir, id), ID: id, Addr: l.Addr().String(), Listener: w, Dial: w.dial})
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
	if !poll.Until(time.Minute, ok) {
		t.Fatalf("waited a minute for: %s", what)
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
	for _, id := range []string{"b", "c"} {
		m := start(t, dir, id, false)
		for _, other := range ms {
			check(t, m.SetPeer(other.cfg.ID, other.cfg.Addr))
			check(t, other.SetPeer(id, m.cfg.Addr))
		}
		byLeader(t, ms, func(lead *member) error { return lead.AddVoter(id, m.cfg.Addr, time.Minute) })
		ms = append(ms, m)
	}
	return ms
}

// byLeader has the leader do something that may be done twice. On a busy machine the office changes hands at any time.
func byLeader(t *testing.T, ms []*member, do func(lead *member) error) (lead *member) {
	t.Helper()
	for {
		lead = leaderOf(t, ms...)
		err := do(lead)
		if err == nil {
			return lead
		}
		if lead.IsLeader() && !errors.Is(err, store.ErrNotLeader) && !errors.Is(err, raft.ErrLeadershipLost) {
			t.Fatal(err)
		}
	}
}

// write returns once a row is acknowledged, maybe after an attempt that was made but not acknowledged.
func write(t *testing.T, ms []*member, name string) (lead *member) {
	t.Helper()
	return byLeader(t, ms, func(lead *member) error {
		if lead.has(name) {
			return nil
		}
		return lead.put(name)
	})
}

func without(ms []*member, gone *member) []*member {
	return slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return m == gone })
}

func TestLeaderLossKeepsWrites(t *testing.T) {
	ms := three(t, t.TempDir())
	var acked []string
	var lost *member
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		lost = write(t, ms, name)
		acked = append(acked, name)
	}
	lost.net.pull()
	rest := without(ms, lost)
	lead := write(t, rest, "after")
	for _, m := range rest {
		eventually(t, "all rows on "+m.cfg.ID, func() bool { return m.has("after") })
		for _, name := range acked {
			if !m.has(name) {
				t.Errorf("manager %s lost the acknowledged %s", m.cfg.ID, name)
			}
		}
	}
	if err := lost.put("split"); err == nil {
		t.Error("the leader that was cut off accepted a write")
	}
	eventually(t, "the dead manager seen as unreachable", func() bool {
		lead = leaderOf(t, rest...)
		for _, m := range lead.Status().Members {
			if m.ID == lost.cfg.ID {
				return !m.Reachable
			}
		}
		return false
	})
}

func TestRestartRemoveForceNew(t *testing.T) {
	dir := t.TempDir()
	ms := three(t, dir)
	lead := write(t, ms, "one")
	check(t, lead.Snapshot())
	lead = write(t, ms, "two")
	removed := without(ms, lead)[0]
	lead = byLeader(t, without(ms, removed), func(lead *member) error { return lead.Remove(removed.cfg.ID, time.Minute) })
	if got := len(lead.Status().Members); got != 2 {
		t.Errorf("%d members after a removal, want 2", got)
	}
	rest := without(ms, removed)
	other := without(rest, lead)[0]
	eventually(t, "the office handed over", func() bool {
		if lead.IsLeader() {
			_ = lead.Transfer()
		}
		return other.IsLeader()
	})
	eventually(t, "both to have the rows", func() bool { return lead.has("two") && other.has("two") })
	for _, m := range ms {
		check(t, m.Close())
	}

	// With the other lost for good, the last one has no quorum, until it is made the only one.
	id := lead.cfg.ID
	n, err := New(Config{Dir: filepath.Join(dir, id), ID: id, Addr: "127.0.0.1:1"})
	check(t, err)
	if has, err := n.HasState(); !has || err != nil {
		t.Fatalf("state on disk: %v, %v", has, err)
	}
	check(t, n.ForceNew())
	check(t, n.logs.Close())
	last := start(t, dir, id, false)
	write(t, []*member{last}, "three")
	for _, name := range []string{"one", "two", "three"} {
		if !last.has(name) {
			t.Errorf("%s is lost", name)
		}
	}
	if got := len(last.Status().Members); got != 1 {
		t.Errorf("%d members, want 1", got)
	}
}

// A power cut may leave a file empty that was not synced. The addresses can be learnt anew: they must not keep a manager out.
func TestDamagedAddressesAreLearntAnew(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, "a", true)
	write(t, []*member{a}, "one")
	check(t, a.Close())
	for _, left := range []string{"", "null", `{"b":`} {
		check(t, os.WriteFile(filepath.Join(dir, "a", "managers.json"), []byte(left), 0o600))
		a = start(t, dir, "a", false)
		leaderOf(t, a)
		if !a.has("one") {
			t.Error("one is lost")
		}
		check(t, a.Close())
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
	check(t, a.AddVoter("b", b.cfg.Addr, time.Minute))
	eventually(t, "the rows", func() bool {
		got := 0
		b.store.View(func(tx *store.Tx) { got = len(tx.Tasks().List()) })
		return got == 3000
	})
}

var _ io.Closer = (*Node)(nil)
