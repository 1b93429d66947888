package dispatcher

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	// sessionGrace is how long a node may be without a session before anything is made of it: agents change
	// managers, managers restart.
	sessionGrace = 4 * time.Second
	// officeGrace is how long a new leader waits for nodes that neither gossip nor a session has told it of.
	officeGrace = 10 * time.Second
	lookAgain   = 500 * time.Millisecond
	// clockSkew is how far ahead a time in a row may be that another leader wrote. From one further ahead nothing can be
	// reckoned: a node down since tomorrow would not be lost before.
	clockSkew = 2 * time.Second
)

// signs is what this leader has seen of a node in its term of office. Zero times: never.
type signs struct {
	manager    string    // who holds, or last held, its session
	registered time.Time // its newest session began
	ended      time.Time // that session ended
	silent     time.Time // gossip lost it; zero while gossip hears it
}

// present notes that a node has a session with a manager. Word of one that goes on is no news.
func (d *Dispatcher) present(manager, node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.signs[node]
	if s.manager == manager && !s.registered.IsZero() && s.ended.IsZero() {
		return
	}
	s.manager, s.registered, s.ended = manager, time.Now(), time.Time{}
	d.signs[node] = s
	d.nudge() // a node that has just come is READY at once
}

// lost notes that a session ended, unless the node has meanwhile gone to another manager.
func (d *Dispatcher) lost(manager, node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.signs[node]; s.manager == manager {
		s.ended = time.Now()
		d.signs[node] = s
	}
}

// Run keeps the state of node rows true while this manager leads. A node that gossip calls dead is DOWN at once;
// what gossip cannot tell is decided by sessions, after a grace.
func (d *Dispatcher) Run(ctx context.Context) error {
	began := time.Now()
	defer d.resign()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		var changed <-chan struct{}
		if d.deps.Liveness != nil {
			changed = d.deps.Liveness.Changed() // before looking, so that nothing falls between
		}
		if err := d.judge(ctx, began); err != nil && ctx.Err() == nil {
			d.log.Warn("writing the state of nodes failed, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-d.wake:
		case <-tick.C:
		}
	}
}

// resign forgets all signs: what becomes of the sessions under another leader is told to that one.
func (d *Dispatcher) resign() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.signs)
}

// judge compares every node's row with the signs and writes the difference in one transaction.
func (d *Dispatcher) judge(ctx context.Context, began time.Time) error {
	now := time.Now()
	word := d.hear(now)
	verdicts := map[string]*api.NodeStatus{}
	d.store.View(func(tx *store.Tx) {
		for n := range tx.Nodes().All() {
			state, why := word.verdict(n, now, began)
			if state != n.Status.GetState() || n.Status.GetSince().AsTime().After(now.Add(clockSkew)) {
				verdicts[n.Id] = &api.NodeStatus{State: state, Message: why}
			}
		}
	})
	if len(verdicts) == 0 {
		return nil
	}
	return d.store.Update(ctx, func(tx *store.Tx) error {
		for id, v := range verdicts {
			n := proto.CloneOf(tx.Nodes().Get(id))
			if n == nil {
				continue
			}
			n.Status.State, n.Status.Message, n.Status.Since = v.State, v.Message, timestamppb.New(now)
			if err := tx.Nodes().Update(n); err != nil {
				return err
			}
			d.log.Info("node changed state", "node", id, "state", v.State, "reason", v.Message)
		}
		return nil
	})
}

// word is everything known at one moment.
type word struct {
	heard map[string]bool // gossip: these answer
	signs map[string]signs
}

// hear takes gossip's word and notes since when nodes are silent.
func (d *Dispatcher) hear(now time.Time) word {
	w := word{heard: map[string]bool{}, signs: map[string]signs{}}
	down := map[string]bool{}
	if d.deps.Liveness != nil {
		for _, id := range d.deps.Liveness.Members() {
			w.heard[id] = true
		}
		down = d.deps.Liveness.Down()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, silent := range down {
		if s := d.signs[id]; silent && s.silent.IsZero() {
			s.silent = now
			d.signs[id] = s
		}
	}
	for id, s := range d.signs {
		if !down[id] && !s.silent.IsZero() {
			s.silent = time.Time{}
			d.signs[id] = s
		}
		w.signs[id] = s
	}
	return w
}

// verdict returns the state a node should be in and, for a person, why.
func (w word) verdict(n *api.Node, now, began time.Time) (api.NodeStatus_State, string) {
	s, present := w.signs[n.Id], n.Status.GetState()
	sessionLost := !s.ended.IsZero() && now.Sub(s.ended) > sessionGrace
	switch {
	case present == api.NodeStatus_UNKNOWN:
		return present, "" // has never been here: Register is to speak first
	case !s.silent.IsZero() && s.registered.After(s.silent) && now.Sub(s.registered) < sessionGrace:
		return api.NodeStatus_READY, "" // came back a moment ago, gossip has yet to hear of it
	case !s.silent.IsZero():
		return api.NodeStatus_DOWN, "does not answer the other nodes"
	case w.heard[n.Id] && sessionLost:
		return api.NodeStatus_DISCONNECTED, "answers the other nodes but is connected to no manager"
	case w.heard[n.Id]:
		return api.NodeStatus_READY, ""
	case sessionLost:
		return api.NodeStatus_DOWN, "its connection to the managers has ended"
	case !s.registered.IsZero():
		return api.NodeStatus_READY, ""
	case now.Sub(began) > officeGrace:
		return api.NodeStatus_DOWN, "has not been heard of since this leader was elected"
	}
	return present, n.Status.Message
}
