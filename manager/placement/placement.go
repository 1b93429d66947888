// Package placement gives tasks their nodes.
//
// It keeps a scheduler.State up to date with the rows of nodes and tasks (rebuilt at every
// resync, so it is only a cache), hands waiting tasks to it in groups of one revision, and
// commits the answer: node_id, the task's addresses on that node's gateway subnet and state
// ASSIGNED in one transaction, or the reason why there is no node. Tasks of global services
// come with a node; for those it only checks that they fit.
//
// It does not create tasks, nor take a node away from one: see manager/orchestrator.
package placement

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
	"github.com/shoal-dev/shoal/scheduler"
)

// Placement is the loop. It writes Task.{node_id,gateway_addresses}, and Task.status up to ASSIGNED.
type Placement struct {
	store *store.Store
	log   *slog.Logger

	// A cache of the rows, in the hands of Run alone.
	state   *scheduler.State
	waiting map[string]bool // tasks without a place; true: not looked at yet
	grown   bool            // a node may have room that it had not before
}

// New returns a Placement; Run must be called on the leader only.
func New(s *store.Store, log *slog.Logger) *Placement {
	return &Placement{store: s, log: log}
}

// resync is how often everything is looked at again without a reason.
const resync = 10 * time.Second

// Run places tasks until ctx ends or the store says that this manager no longer leads.
func (p *Placement) Run(ctx context.Context) error {
	kinds := []string{store.KindNode, store.KindTask}
	return p.store.Follow(ctx, store.FollowOptions{Kinds: kinds, Resync: resync}, func(tx *store.Tx, events []store.Event) error {
		if events == nil {
			p.rebuild(tx)
		}
		for _, e := range events {
			p.note(tx, e)
		}
		return p.commit(ctx, p.decide(tx, time.Now()))
	})
}

func (p *Placement) rebuild(tx *store.Tx) {
	p.state, p.waiting, p.grown = scheduler.NewState(), map[string]bool{}, true
	for n := range tx.Nodes().All() {
		p.state.SetNode(n)
	}
	for t := range tx.Tasks().All() {
		p.noteTask(tx, t)
	}
}

func (p *Placement) note(tx *store.Tx, e store.Event) {
	switch now := e.New.(type) {
	case *api.Node:
		p.state.SetNode(now)
		p.grown = true
	case *api.Task:
		p.noteTask(tx, now)
	}
	if e.New != nil {
		return
	}
	switch old := e.Old.(type) {
	case *api.Node:
		p.state.RemoveNode(old.Id)
		p.grown = true // the reasons have changed
	case *api.Task:
		p.forget(old.Id)
	}
}

func (p *Placement) noteTask(tx *store.Tx, t *api.Task) {
	s := t.GetStatus().GetState()
	switch {
	case s > api.TaskState_RUNNING:
		p.forget(t.Id)
	case s >= api.TaskState_ASSIGNED:
		delete(p.waiting, t.Id)
		p.state.SetTask(use(tx, t))
		if t.DesiredState > api.TaskState_RUNNING {
			p.grown = true // it no longer counts for the spread and for max replicas per node
		}
	case isWaiting(t):
		if _, known := p.waiting[t.Id]; !known {
			p.waiting[t.Id] = true
		}
	default:
		delete(p.waiting, t.Id)
	}
}

func (p *Placement) forget(id string) {
	delete(p.waiting, id)
	p.state.RemoveTask(id)
	p.grown = true
}

// isWaiting: it has its addresses and is meant to run, but is not on a node yet.
func isWaiting(t *api.Task) bool {
	return t.GetStatus().GetState() == api.TaskState_PENDING && t.DesiredState <= api.TaskState_RUNNING
}

// use is what a task takes from its node.
func use(tx *store.Tx, t *api.Task) scheduler.Task {
	return scheduler.Task{
		ID: t.Id, ServiceID: t.ServiceId, NodeID: t.NodeId, Reserved: revision(tx, t).GetSpec().GetReservations(), HostPorts: t.HostPorts,
		Routable: len(t.GatewayAddresses) > 0, Wanted: t.DesiredState <= api.TaskState_RUNNING,
	}
}

func revision(tx *store.Tx, t *api.Task) *api.Revision {
	return tx.Revisions().Get(t.ServiceId + "." + strconv.FormatUint(t.Revision, 10))
}
