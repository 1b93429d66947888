package dispatcher

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// gossip is what a test says of nodes.
type gossip struct {
	mu      sync.Mutex
	down    map[string]bool
	changed chan struct{}
}

func (g *gossip) Down() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]bool{}
	for id, d := range g.down {
		if d {
			out[id] = true
		}
	}
	return out
}

func (g *gossip) Members() (out []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, d := range g.down {
		if !d {
			out = append(out, id)
		}
	}
	return out
}

func (g *gossip) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *gossip) say(id string, down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down[id] = down
	close(g.changed)
	g.changed = make(chan struct{})
}

func newGossip(alive ...string) *gossip {
	g := &gossip{down: map[string]bool{}, changed: make(chan struct{})}
	for _, id := range alive {
		g.down[id] = false
	}
	return g
}

// watched is a leading dispatcher inside a bubble, with one READY node.
func watched(t *testing.T, live Liveness) (*Dispatcher, func() *api.NodeStatus, func()) {
	s := store.New(nil)
	d := New(s, Deps{NodeID: "m1", IsLeader: func() bool { return true }, LeaderID: func() string { return "m1" }, Liveness: live})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx *store.Tx) error {
		return tx.Nodes().Create(&api.Node{Id: "w1", Status: &api.NodeStatus{State: api.NodeStatus_READY}})
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	state := func() (st *api.NodeStatus) {
		synctest.Wait()
		s.View(func(tx *store.Tx) { st = tx.Nodes().Get("w1").Status })
		return st
	}
	return d, state, func() { cancel(); <-done }
}

func must(t *testing.T, when string, got *api.NodeStatus, want api.NodeStatus_State) {
	t.Helper()
	if got.State != want {
		t.Errorf("%s: node is %v (%s), want %v", when, got.State, got.Message, want)
	}
	if got.State != api.NodeStatus_READY && got.Message == "" {
		t.Errorf("%s: %v without a reason", when, got.State)
	}
}

func TestGossipsWordCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGossip("w1")
		d, state, stop := watched(t, g)
		defer stop()
		must(t, "at first", state(), api.NodeStatus_READY)
		g.say("w1", true)
		must(t, "gossip lost it", state(), api.NodeStatus_DOWN)
		g.say("w1", false)
		must(t, "gossip hears it", state(), api.NodeStatus_READY)

		g.say("w1", true)
		must(t, "lost again", state(), api.NodeStatus_DOWN)
		time.Sleep(time.Second)
		d.present("m1", "w1")
		time.Sleep(lookAgain)
		must(t, "its session is back before gossip", state(), api.NodeStatus_READY)
		time.Sleep(sessionGrace)
		must(t, "gossip stays deaf", state(), api.NodeStatus_DOWN)
	})
}

func TestLostSessionCountsAfterGrace(t *testing.T) {
	for _, tt := range []struct {
		name string
		live Liveness
		want api.NodeStatus_State
	}{{"gossip hears it", newGossip("w1"), api.NodeStatus_DISCONNECTED}, {"no gossip", nil, api.NodeStatus_DOWN}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if g, ok := tt.live.(*gossip); ok {
					g.changed = make(chan struct{}) // of this bubble
				}
				d, state, stop := watched(t, tt.live)
				defer stop()
				d.present("m1", "w1")
				d.lost("m1", "w1")
				time.Sleep(sessionGrace / 2)
				must(t, "within the grace", state(), api.NodeStatus_READY)
				d.present("m2", "w1")
				d.lost("m1", "w1") // late word of the manager it left
				time.Sleep(2 * sessionGrace)
				must(t, "it went to another manager", state(), api.NodeStatus_READY)
				d.lost("m2", "w1")
				time.Sleep(sessionGrace + lookAgain)
				must(t, "after the grace", state(), tt.want)
			})
		})
	}
}

func TestNewLeaderWaitsForNodesNobodyHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, state, stop := watched(t, newGossip())
		defer stop()
		time.Sleep(officeGrace - lookAgain)
		must(t, "within the grace", state(), api.NodeStatus_READY)
		time.Sleep(2 * lookAgain)
		must(t, "after the grace", state(), api.NodeStatus_DOWN)
	})
}

// A session registers its node again and again, in case the leader has forgotten it. That is no news: a node that does not
// answer the others (its gossip port is closed, say) stays down, and since when, while its session goes on.
func TestSessionThatGoesOnIsNoReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGossip("w1")
		d, state, stop := watched(t, g)
		defer stop()
		register := func() {
			t.Helper()
			if _, err := d.registerHere(t.Context(), "m1", &api.RegisterRequest{NodeId: "w1", Session: hello("192.0.2.11")}); err != nil {
				t.Fatal(err)
			}
		}
		register()
		must(t, "its session begins", state(), api.NodeStatus_READY)
		time.Sleep(time.Second)
		g.say("w1", true)
		must(t, "gossip lost it", state(), api.NodeStatus_DOWN)
		since := state().Since.AsTime()
		for range 5 {
			time.Sleep(registerAgain)
			register()
			must(t, "its session goes on", state(), api.NodeStatus_DOWN)
			time.Sleep(lookAgain)
			must(t, "a moment later", state(), api.NodeStatus_DOWN)
		}
		if now := state().Since.AsTime(); !now.Equal(since) {
			t.Errorf("down since %v, then since %v", since, now)
		}
		d.lost("m1", "w1")
		register()
		must(t, "a new session", state(), api.NodeStatus_READY)
	})
}

// What a leader knew of sessions in an earlier term is no word on those of now.
func TestNewTermBeginsWithoutOldSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, state, stop := watched(t, newGossip("w1"))
		d.present("m2", "w1")
		d.lost("m2", "w1") // it went to a manager that tells the next leader
		stop()
		time.Sleep(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		must(t, "the leader is back in office", state(), api.NodeStatus_READY)
		cancel()
		<-done
	})
}

// The leader before had a clock that was an hour ahead. What it wrote must not keep a node from being lost for that long.
func TestSinceIsByThisLeadersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGossip()
		g.down["w1"] = true
		d, state, stop := watched(t, g)
		defer stop()
		must(t, "gossip does not hear it", state(), api.NodeStatus_DOWN)
		for _, ahead := range []time.Duration{time.Second, time.Hour} {
			wrong := time.Now().Add(ahead)
			err := d.store.Update(t.Context(), func(tx *store.Tx) error {
				n := proto.CloneOf(tx.Nodes().Get("w1"))
				n.Status.Since = timestamppb.New(wrong)
				return tx.Nodes().Update(n)
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lookAgain)
			if since := state().Since.AsTime(); since.After(time.Now()) {
				t.Errorf("down since %v, and it is %v", since, time.Now())
			}
		}
		must(t, "later", state(), api.NodeStatus_DOWN)
	})
}
