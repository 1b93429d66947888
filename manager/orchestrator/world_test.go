package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// world is a cluster without a network: a store, an Orchestrator, and one goroutine that plays placement and the
// agents of all nodes. It lives in a synctest bubble, so that its seconds cost nothing.
type world struct {
	t      *testing.T
	s      *store.Store
	stop   context.CancelFunc // ends the Orchestrator
	ended  chan struct{}
	deaf   map[string]bool // nodes whose agents do nothing
	fails  func(t *api.Task) bool
	stops  time.Duration // how long a task takes to stop
	began  map[string]time.Time
	starts []string // SERVICE.SLOT/REVISION of every task that came up
}

// inWorld runs a scenario in a cluster with n nodes named n1, n2, ...
func inWorld(t *testing.T, n int, scenario func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, s: store.New(nil), deaf: map[string]bool{}, began: map[string]time.Time{}, stops: time.Second,
			fails: func(*api.Task) bool { return false }}
		w.update(func(tx *store.Tx) error { return tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{}}) })
		for i := range n {
			w.addNode(fmt.Sprintf("n%d", i+1))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.play(ctx)
		w.lead()
		defer func() { w.stop(); <-w.ended }()
		scenario(w)
	})
}

// lead starts an Orchestrator as a new leader would.
func (w *world) lead() {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop, w.ended = cancel, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		New(w.s, slog.New(slog.DiscardHandler)).Run(ctx)
	}(w.ended)
}

func (w *world) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.s.Update(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}

// play moves tasks on: places the waiting, starts the assigned, stops the unwanted.
func (w *world) play(ctx context.Context) {
	o := store.FollowOptions{Kinds: []string{store.KindTask, store.KindNode}, Resync: 100 * time.Millisecond, Debounce: time.Millisecond}
	w.s.Follow(ctx, o, func(*store.Tx, []store.Event) error {
		return w.s.Update(ctx, func(tx *store.Tx) error {
			for _, t := range tx.Tasks().List() {
				now := proto.CloneOf(t)
				if w.step(tx, now); !proto.Equal(t, now) {
					if err := tx.Tasks().Update(now); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

func (w *world) step(tx *store.Tx, t *api.Task) {
	set := func(s api.TaskState, err string) {
		t.Status = &api.TaskStatus{State: s, Timestamp: timestamppb.Now(), Err: err}
	}
	s := t.Status.GetState()
	switch {
	case s == api.TaskState_PENDING && t.DesiredState <= api.TaskState_RUNNING:
		if t.NodeId == "" {
			t.NodeId = emptiest(tx)
		}
		if t.NodeId != "" {
			set(api.TaskState_ASSIGNED, "")
		}
	case s < api.TaskState_ASSIGNED || s > api.TaskState_RUNNING || w.deaf[t.NodeId]:
	case t.DesiredState > api.TaskState_RUNNING:
		if s < api.TaskState_RUNNING {
			set(api.TaskState_SHUTDOWN, "")
			return
		}
		if w.began[t.Id].IsZero() {
			w.began[t.Id] = time.Now()
		}
		if time.Since(w.began[t.Id]) >= w.stops {
			set(api.TaskState_SHUTDOWN, "")
		}
	case s == api.TaskState_RUNNING:
	case t.DesiredState < api.TaskState_RUNNING || t.NotBefore != nil && time.Now().Before(t.NotBefore.AsTime()):
		if s != api.TaskState_READY {
			set(api.TaskState_READY, "")
		}
	case w.fails(t):
		set(api.TaskState_FAILED, "exit code 1")
	default:
		set(api.TaskState_RUNNING, "")
		w.starts = append(w.starts, fmt.Sprintf("%s.%d/%d", t.ServiceName, t.Slot, t.Revision))
	}
}

// emptiest is the ready node with the fewest tasks.
func emptiest(tx *store.Tx) string {
	best, least := "", 1<<30
	for _, n := range tx.Nodes().List() {
		if n.Status.State != api.NodeStatus_READY || n.Spec.Availability != api.NodeSpec_ACTIVE {
			continue
		}
		k := 0
		for _, t := range tx.Tasks().List(store.ByNode(n.Id)) {
			if t.DesiredState <= api.TaskState_RUNNING && t.Status.GetState() <= api.TaskState_RUNNING {
				k++
			}
		}
		if k < least {
			best, least = n.Id, k
		}
	}
	return best
}

func (w *world) addNode(id string) {
	w.update(func(tx *store.Tx) error {
		return tx.Nodes().Create(&api.Node{Id: id, Spec: &api.NodeSpec{Labels: map[string]string{}},
			Description: &api.NodeDescription{Hostname: "host-" + id}, Status: &api.NodeStatus{State: api.NodeStatus_READY}})
	})
}

func (w *world) node(id string, f func(n *api.Node)) {
	w.update(func(tx *store.Tx) error {
		n := proto.CloneOf(tx.Nodes().Get(id))
		f(n)
		return tx.Nodes().Update(n)
	})
}

// deafen makes an agent do nothing, or work again. Everybody else rests while it changes.
func (w *world) deafen(id string, deaf bool) {
	synctest.Wait()
	w.deaf[id] = deaf
}

// down kills nodes: their agents fall silent, and the managers notice.
func (w *world) down(ids ...string) {
	for _, id := range ids {
		w.deafen(id, true)
		w.node(id, func(n *api.Node) {
			n.Status = &api.NodeStatus{State: api.NodeStatus_DOWN, Since: timestamppb.Now()}
		})
	}
}

func (w *world) back(id string) {
	w.deafen(id, false)
	w.node(id, func(n *api.Node) {
		n.Status = &api.NodeStatus{State: api.NodeStatus_READY, Since: timestamppb.Now()}
	})
}

// replicated is a spec as control stores it.
func replicated(name string, n uint64) *api.ServiceSpec {
	return &api.ServiceSpec{Name: name, Mode: &api.ServiceMode{Replicas: n}, Container: &api.ContainerSpec{Image: "one"}}
}

func global(name string) *api.ServiceSpec {
	return &api.ServiceSpec{Name: name, Mode: &api.ServiceMode{Global: true}, Container: &api.ContainerSpec{Image: "one"}}
}

// apply creates a service, or changes its spec as control does: a new revision if anything but the replicas and
// the update settings is new.
func (w *world) apply(spec *api.ServiceSpec) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		old := tx.Services().Get(spec.Name)
		rev := proto.CloneOf(spec)
		rev.Update, rev.Rollback, rev.Mode.Replicas = nil, nil, 0
		if old == nil {
			if err := tx.Revisions().Create(&api.Revision{Id: spec.Name + ".1", ServiceId: spec.Name, Number: 1, Spec: rev}); err != nil {
				return err
			}
			return tx.Services().Create(&api.Service{Id: spec.Name, Spec: spec, Revision: 1})
		}
		svc := proto.CloneOf(old)
		svc.Spec = spec
		if !proto.Equal(tx.Revisions().Get(fmt.Sprintf("%s.%d", svc.Id, svc.Revision)).Spec, rev) {
			var newest uint64
			for _, r := range tx.Revisions().List(store.ByService(svc.Id)) {
				newest = max(newest, r.Number)
			}
			svc.PreviousRevision, svc.Revision, svc.UpdateStatus = svc.Revision, newest+1, nil
			r := &api.Revision{Id: fmt.Sprintf("%s.%d", svc.Id, svc.Revision), ServiceId: svc.Id, Number: svc.Revision, Spec: rev}
			if err := tx.Revisions().Create(r); err != nil {
				return err
			}
		}
		return tx.Services().Update(svc)
	})
}

func (w *world) remove(service string) {
	w.update(func(tx *store.Tx) error {
		svc := proto.CloneOf(tx.Services().Get(service))
		svc.PendingDelete = true
		return tx.Services().Update(svc)
	})
}

// wait lets time pass until ok says so, at most d.
func (w *world) wait(d time.Duration, what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(d)
	for {
		synctest.Wait()
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s\n%s", d, what, w.dump())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// always lets d pass and fails if ok does not hold all the time.
func (w *world) always(d time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if synctest.Wait(); !ok() {
			w.t.Fatalf("%s does not hold any more\n%s", what, w.dump())
		}
	}
}

func (w *world) tasks(service string) (out []*api.Task) {
	w.s.View(func(tx *store.Tx) { out = tx.Tasks().List(store.ByService(service)) })
	return out
}

func (w *world) service(id string) (svc *api.Service) {
	w.s.View(func(tx *store.Tx) { svc = tx.Services().Get(id) })
	return svc
}

// running are the tasks that run and are meant to, sorted, each as SLOT/REVISION@NODE.
func (w *world) running(service string) (out []string) {
	for _, t := range w.tasks(service) {
		if t.Status.State == api.TaskState_RUNNING && t.DesiredState <= api.TaskState_RUNNING && !w.deaf[t.NodeId] {
			out = append(out, fmt.Sprintf("%d/%d@%s", t.Slot, t.Revision, t.NodeId))
		}
	}
	slices.Sort(out)
	return out
}

// alive is how many tasks run, wanted or not.
func (w *world) alive(service string) int {
	n := 0
	for _, t := range w.tasks(service) {
		if t.Status.State == api.TaskState_RUNNING && !w.deaf[t.NodeId] {
			n++
		}
	}
	return n
}

// runs waits for a number of running tasks of a revision and nothing else.
func (w *world) runs(d time.Duration, service string, n int, revision uint64) {
	w.t.Helper()
	w.wait(d, fmt.Sprintf("%d tasks of revision %d run", n, revision), func() bool {
		got := w.running(service)
		return len(got) == n && !slices.ContainsFunc(got, func(s string) bool { return !strings.Contains(s, fmt.Sprintf("/%d@", revision)) })
	})
}

func (w *world) updateState(d time.Duration, service string, s api.UpdateStatus_State) {
	w.t.Helper()
	w.wait(d, s.String(), func() bool { return w.service(service).GetUpdateStatus().GetState() == s })
}

func (w *world) dump() string {
	var b strings.Builder
	w.s.View(func(tx *store.Tx) {
		for _, s := range tx.Services().List() {
			fmt.Fprintf(&b, "service %s revision %d %v %s\n", s.Id, s.Revision, s.UpdateStatus, s.AllocationError)
		}
		for _, t := range tx.Tasks().List() {
			fmt.Fprintf(&b, "task %s %s.%d/%d on %q wanted %s is %s restarts %d %q %q\n", t.Id[:5], t.ServiceName, t.Slot, t.Revision, t.NodeId,
				t.DesiredState, t.Status.GetState(), t.RestartCount, t.Status.GetMessage(), t.Status.GetErr())
		}
	})
	return b.String()
}

func seconds(n float64) *durationpb.Duration {
	return durationpb.New(time.Duration(n * float64(time.Second)))
}
