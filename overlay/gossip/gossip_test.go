package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func start(t *testing.T, id string, peers []string, k []byte) (*Pool, context.CancelFunc) {
	t.Helper()
	var p *Pool
	var err error
	for range 20 { // a port that is free may be another's by the time it is bound, or free for TCP alone
		p, err = New(Config{NodeID: id, Addr: netip.MustParseAddr("127.0.0.1"), Port: freePort(t), Keys: [][]byte{k}, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	p.SetPeers(peers)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop := func() { cancel(); <-done; done <- nil }
	t.Cleanup(stop)
	return p, stop
}

// until polls because memberlist's sockets and timers are real.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	const limit = time.Minute
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

func TestDeathIsKnownAndUndone(t *testing.T) {
	a, _ := start(t, "a", nil, key(1))
	b, _ := start(t, "b", []string{a.self()}, key(1))
	c, stopC := start(t, "c", []string{a.self()}, key(1))
	for _, p := range []*Pool{a, b, c} {
		until(t, "three members", func() bool { return len(p.Members()) == 3 })
	}
	changed := b.Changed()
	stopC() // no goodbye: like a host whose link was cut
	for _, p := range []*Pool{a, b} {
		until(t, "c is down", func() bool { return p.Down()["c"] })
	}
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Error("Changed did not fire")
	}
	back, _ := start(t, "c", []string{a.self()}, key(1)) // same identity, another address
	until(t, "c is back", func() bool { return !a.Down()["c"] && !b.Down()["c"] && len(back.Members()) == 3 })
}

func TestWrongKeyIsKeptOut(t *testing.T) {
	a, _ := start(t, "a", nil, key(1))
	b, _ := start(t, "b", nil, key(2))
	if n, err := b.list.Join([]string{a.self()}); err == nil {
		t.Fatalf("joined %d members with the wrong key", n)
	}
	if err := b.SetKeys([][]byte{key(1), key(2)}); err != nil {
		t.Fatal(err)
	}
	b.SetPeers([]string{a.self()})
	until(t, "joined after the key change", func() bool { return len(a.Members()) == 2 })
}

func TestNoKeyIsRefused(t *testing.T) {
	_, err := New(Config{NodeID: "a", Addr: netip.MustParseAddr("127.0.0.1"), Logger: slog.New(slog.DiscardHandler)})
	if got, want := fmt.Sprint(err), "start gossip: no encryption key"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
