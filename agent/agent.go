//go:build linux

// Package agent makes a node do what the managers want of it, and tells them what became of it.
//
// An Agent keeps a session with one manager at a time, any of them (session.go), stores what it is told (package
// db), hands the network view to the overlay (view.go) and has a runner for each task (runner.go) that takes one
// step at a time (step.go) through a container controller (package container). Statuses go back in batches
// (reporter.go). All of it goes on without managers: what was told last holds until they say otherwise, also
// after a restart of the daemon.
//
// It decides nothing of the cluster: which tasks there are, where, and when they are replaced is the managers'.
// Certificates, gossip and DNS are joined to it by package node through OnSession.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/agent/db"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

// Overlay is what an Agent needs of the overlay. *overlay.Overlay is one.
type Overlay interface {
	container.Overlay
	Set(overlay.Desired)
	Adopt(ids []string)
}

// Config is what an Agent needs to know. All fields are needed unless they say otherwise.
type Config struct {
	Dir    string // holds agent.db
	NodeID string
	// Managers are HOST:PORT of cluster ports to begin with; later ones are learnt and stored.
	Managers []string
	// Dial connects to a manager with this node's certificate. It need not wait for the connection.
	Dial          func(ctx context.Context, addr string) (*grpc.ClientConn, error)
	Engine        container.Engine
	Overlay       Overlay
	Images        container.ImageSource // nil: registries only
	Description   func() *api.NodeDescription
	ManagerStatus func() *api.ManagerStatus // nil, or returning nil: no manager here
	AdvertiseAddr string
	DataPathAddr  string
	GossipPort    uint16
	// OnSession hears each message of the session in order, heartbeats left out. Nil: nobody. It must not block.
	OnSession func(*api.SessionMessage)
	// OnRemoved hears each time that a manager does not know this node. When it is sure that the node was removed, its tasks are
	// stopped. Nil: nobody.
	OnRemoved    func(err error, sure bool)
	RemovedAfter time.Duration // from the first such word until it is sure, 0: five seconds
	Logger       *slog.Logger  // nil: none

	silence time.Duration // instead of the usual, in tests
}

// Agent is one node's. Make it with New, drive it with Run.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	db       *db.DB
	index    uint64
	view     *view
	managers *managers
	reporter *reporter
	control  container.Deps
	refusals refusals        // keepSession's
	stored   db.Content      // until Run has taken it up
	life     context.Context // Run's: that of the runners

	mu      sync.Mutex
	runners map[string]*runner
	running sync.WaitGroup // of runners
	again   chan struct{}  // buffered by one: register anew
}

// New opens the node's database. Run closes it.
func New(cfg Config) (*Agent, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.RemovedAfter == 0 {
		cfg.RemovedAfter = defaultRemovedAfter
	}
	d, err := db.Open(filepath.Join(cfg.Dir, "agent.db"))
	if err != nil {
		return nil, err
	}
	stored, err := d.Load()
	if err != nil {
		d.Close()
		return nil, err
	}
	a := &Agent{
		cfg: cfg, log: cfg.Logger, db: d, index: stored.Index, stored: stored,
		view: newView(cfg.NodeID), managers: newManagers(cfg.Managers, stored.Managers),
		reporter: newReporter(d, cfg.Logger, stored.Status),
		runners:  map[string]*runner{}, again: make(chan struct{}, 1),
	}
	a.control = container.Deps{
		Engine: cfg.Engine, Overlay: cfg.Overlay, Images: cfg.Images, Node: a.node,
		Nameservers: a.view.nameservers, Slots: make(chan struct{}, max(4, 2*runtime.NumCPU())),
	}
	return a, nil
}

func (a *Agent) node() container.Node {
	return container.Node{ID: a.cfg.NodeID, Hostname: a.cfg.Description().GetHostname()}
}

// SetDown names the nodes that gossip does not hear: a session with one of them ends at once, none is begun.
func (a *Agent) SetDown(nodes map[string]bool) { a.managers.setDown(nodes) }

// Managers returns the managers as last told.
func (a *Agent) Managers() []*api.WeightedManager { return a.managers.list() }

// Announce begins a new session, so that managers hear of a changed description, address or role. The containers
// and the tasks notice nothing.
func (a *Agent) Announce() {
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// Close lets go of the database of an Agent that is not run after all.
func (a *Agent) Close() error { return a.db.Close() }

// Run works until ctx ends. Containers go on running.
func (a *Agent) Run(ctx context.Context) error {
	a.life = ctx
	defer a.db.Close()
	// Reports outlive runners, so that the last status of each is stored.
	reports, end := context.WithCancel(context.WithoutCancel(ctx))
	var reporting sync.WaitGroup
	reporting.Go(func() { a.reporter.run(reports) })
	defer reporting.Wait()
	defer end()
	defer a.running.Wait()

	if err := a.resume(ctx); err != nil {
		return err
	}
	var loops sync.WaitGroup
	loops.Go(func() { a.serveLogs(ctx) })
	loops.Go(func() { a.keepSession(ctx) })
	loops.Wait()
	return ctx.Err()
}

// resume takes up what was stored: the network view, then the containers that go on running, then all tasks.
func (a *Agent) resume(ctx context.Context) error {
	c := a.stored
	a.stored = db.Content{}
	a.view.apply(true, c.Assignments)
	if len(c.Assignments) > 0 {
		a.cfg.Overlay.Set(a.view.desired())
	}
	if err := a.adopt(ctx); err != nil {
		return err
	}
	for id, task := range a.view.tasks {
		a.launch(ctx, id, task, c.Status[id])
	}
	for id := range c.Status {
		if a.view.tasks[id] == nil {
			a.reporter.forget(id)
		}
	}
	return nil
}

// attachTimeout bounds how long the daemon's start waits for one container's links to be repaired.
const attachTimeout = 5 * time.Second

// adopt tells the overlay which containers are wired, so that it repairs their links and removes all others.
func (a *Agent) adopt(ctx context.Context) error {
	rows, err := a.cfg.Engine.Tasks(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var wired []string
	var attaching sync.WaitGroup
	for _, row := range rows {
		if row.State != api.ContainerState_CONTAINER_RUNNING && row.State != api.ContainerState_PAUSED {
			continue
		}
		wired = append(wired, row.Id)
		if task := a.view.tasks[row.TaskId]; task != nil {
			attaching.Go(func() { a.reattach(ctx, task, row) })
		}
	}
	attaching.Wait()
	a.cfg.Overlay.Adopt(wired)
	return nil
}

func (a *Agent) reattach(ctx context.Context, task *api.Task, row *api.Container) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	at, err := container.Attachment(task, a.view.revisionOf(task), row)
	if err == nil && at != nil {
		err = a.cfg.Overlay.Attach(ctx, *at)
	}
	if err != nil {
		a.log.Warn("repairing the network of a running container failed", "task", task.Id, "container", row.Id, "error", err)
	}
}
