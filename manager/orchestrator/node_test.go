package orchestrator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func (w *world) states(service string, s api.TaskState) int {
	n := 0
	for _, t := range w.tasks(service) {
		if t.Status.State == s {
			n++
		}
	}
	return n
}

func TestLostNodeIsReplaced(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.apply(replicated("web", 6))
		w.runs(time.Second, "web", 6, 1)
		w.down("n2")
		w.always(1900*time.Millisecond, "suspect is not lost", func() bool { return len(w.tasks("web")) == 6 })
		w.runs(300*time.Millisecond, "web", 6, 1)
		if n := w.states("web", api.TaskState_ORPHANED); n != 2 {
			t.Errorf("%d orphaned, want 2", n)
		}
		for _, task := range w.tasks("web") {
			if task.Status.State == api.TaskState_ORPHANED && (task.DesiredState != api.TaskState_SHUTDOWN ||
				task.Status.Message != "node host-n2 is lost: down for more than 2s") {
				t.Errorf("%v", task)
			}
			if task.RestartCount != 0 {
				t.Errorf("losing a node counts as a restart: %v", task)
			}
		}
		w.back("n2")
		w.always(5*time.Second, "6 tasks run", func() bool { return len(w.running("web")) == 6 })
	})
}

func TestNodeThatComesBackInTimeKeepsItsTasks(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.apply(replicated("web", 3))
		w.runs(time.Second, "web", 3, 1)
		before := w.running("web")
		w.down("n2")
		time.Sleep(1500 * time.Millisecond)
		w.back("n2")
		w.always(5*time.Second, "the same tasks", func() bool { return slices.Equal(w.running("web"), before) })
	})
}

func TestMajorityIsNotReplaced(t *testing.T) {
	inWorld(t, 5, func(w *world) {
		w.apply(replicated("web", 5))
		w.runs(time.Second, "web", 5, 1)
		w.down("n1", "n2", "n3")
		w.always(time.Minute, "nothing is replaced", func() bool { return len(w.tasks("web")) == 5 })
		want := "node down, task not replaced: 3 of 5 nodes went down together"
		told := 0
		for _, task := range w.tasks("web") {
			if task.Status.Err == want {
				told++
			}
		}
		if told != 3 {
			t.Errorf("%d tasks say why, want 3\n%s", told, w.dump())
		}
		w.back("n1") // two of five: a majority answers again
		w.runs(time.Second, "web", 5, 1)
		for _, task := range w.tasks("web") {
			if task.NodeId == "n1" && strings.HasPrefix(task.Status.Err, heldBack) {
				t.Errorf("the reason outlived its cause: %v", task.Status)
			}
		}
	})
}

func TestNodesThatFallOneByOneAreReplaced(t *testing.T) {
	inWorld(t, 5, func(w *world) {
		w.apply(replicated("web", 5))
		w.runs(time.Second, "web", 5, 1)
		for _, id := range []string{"n1", "n2", "n3"} {
			w.down(id)
			w.runs(5*time.Second, "web", 5, 1)
			time.Sleep(time.Minute)
		}
	})
}

func TestLeaderAndWorkerTogether(t *testing.T) {
	inWorld(t, 5, func(w *world) {
		w.apply(replicated("web", 6))
		w.runs(time.Second, "web", 6, 1)
		w.down("n1", "n4")
		w.stop() // the leader was on n1
		<-w.ended
		time.Sleep(time.Second)
		w.lead()
		w.runs(1500*time.Millisecond, "web", 6, 1)
	})
}

func TestRemovedNode(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.apply(replicated("web", 2))
		w.runs(time.Second, "web", 2, 1)
		w.deafen("n1", true)
		w.update(func(tx *store.Tx) error { return tx.Nodes().Delete("n1") })
		w.runs(time.Second, "web", 2, 1)
		if n := w.states("web", api.TaskState_ORPHANED); n != 1 {
			t.Errorf("%d orphaned", n)
		}
	})
}

func TestDrainMovesOneByOne(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.apply(replicated("web", 6))
		w.runs(time.Second, "web", 6, 1)
		w.node("n1", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_DRAIN })
		w.always(3*time.Second, "at least 5 run", func() bool { return w.alive("web") >= 5 })
		w.wait(10*time.Second, "all on n2", func() bool {
			got := w.running("web")
			return len(got) == 6 && !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "@n1") })
		})
		if u := w.service("web").UpdateStatus; u != nil {
			t.Errorf("a drain is no update: %v", u)
		}
	})
}

// Where nothing is lost by it a node is emptied at once, whatever the parallelism of updates.
func TestDrainStartFirst(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		spec := replicated("web", 20)
		spec.Update = &api.UpdateConfig{Order: api.UpdateConfig_START_FIRST, Parallelism: 1, Delay: durationpb.New(10 * time.Second)}
		w.apply(spec)
		w.runs(time.Second, "web", 20, 1)
		w.node("n1", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_DRAIN })
		w.always(time.Second, "at least 20 run", func() bool { return w.alive("web") >= 20 })
		if got := w.running("web"); len(got) != 20 || strings.Contains(strings.Join(got, " "), "@n1") {
			t.Errorf("got %v", got)
		}
	})
}

// An update that is under way changes what has to move within its own parallelism.
func TestDrainDuringUpdate(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		spec := replicated("web", 8)
		spec.Update = &api.UpdateConfig{Order: api.UpdateConfig_START_FIRST, Parallelism: 1, Delay: durationpb.New(time.Second)}
		w.apply(spec)
		w.runs(time.Second, "web", 8, 1)
		spec = proto.CloneOf(spec)
		spec.Container.Image = "web:2"
		w.apply(spec)
		w.wait(5*time.Second, "the update has begun", func() bool { return w.service("web").UpdateStatus != nil })
		w.node("n1", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_DRAIN })
		w.always(3*time.Second, "all run, few more", func() bool { n := w.alive("web"); return n >= 8 && n <= 8+5 })
		w.wait(30*time.Second, "all are new, on n2", func() bool {
			got := strings.Join(w.running("web"), " ")
			return len(w.running("web")) == 8 && !strings.Contains(got, "@n1") && w.service("web").UpdateStatus.State == api.UpdateStatus_COMPLETED
		})
	})
}

func TestPauseKeepsTasks(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.apply(replicated("web", 4))
		w.apply(global("agent"))
		w.runs(time.Second, "web", 4, 1)
		w.runs(time.Second, "agent", 2, 1)
		before := w.running("web")
		w.node("n1", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_PAUSE })
		w.always(3*time.Second, "the same tasks", func() bool {
			return slices.Equal(w.running("web"), before) && len(w.running("agent")) == 2
		})
	})
}

func TestConstraintNoLongerMet(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		disk := func(kind string, a api.NodeSpec_Availability) func(*api.Node) {
			return func(n *api.Node) {
				n.Spec = &api.NodeSpec{Labels: map[string]string{"disk": kind}, Availability: a}
			}
		}
		w.node("n1", disk("ssd", api.NodeSpec_ACTIVE))
		spec := replicated("web", 1)
		spec.Placement = &api.Placement{Constraints: []string{"node.labels.disk == ssd"}}
		w.apply(spec)
		w.runs(time.Second, "web", 1, 1)
		w.addNode("n2")
		w.node("n2", disk("ssd", api.NodeSpec_ACTIVE))
		// Paused, so that the fake placement, which knows no constraints, does not choose it again.
		w.node("n1", disk("hdd", api.NodeSpec_PAUSE))
		w.wait(5*time.Second, "it moves", func() bool { return slices.Equal(w.running("web"), []string{"1/1@n2"}) })
	})
}

func TestGlobal(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.apply(global("agent"))
		w.runs(time.Second, "agent", 2, 1)
		w.addNode("n3")
		w.runs(time.Second, "agent", 3, 1)

		w.node("n3", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_DRAIN })
		w.wait(3*time.Second, "n3 is empty", func() bool { return len(w.running("agent")) == 2 && w.alive("agent") == 2 })
		w.node("n3", func(n *api.Node) { n.Spec.Availability = api.NodeSpec_ACTIVE })
		w.runs(time.Second, "agent", 3, 1)

		w.down("n1")
		w.wait(3*time.Second, "n1's task is orphaned", func() bool { return w.states("agent", api.TaskState_ORPHANED) == 1 })
		w.always(3*time.Second, "no task for a node that is down", func() bool { return len(w.running("agent")) == 2 })
		w.back("n1")
		w.runs(time.Second, "agent", 3, 1)

		w.deafen("n2", true)
		w.update(func(tx *store.Tx) error { return tx.Nodes().Delete("n2") })
		w.wait(time.Second, "n2's rows are gone", func() bool {
			return len(w.running("agent")) == 2 && !slices.ContainsFunc(w.tasks("agent"), func(t *api.Task) bool { return t.NodeId == "n2" })
		})
	})
}

func TestGlobalRespectsConstraintsAndPlatform(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.node("n1", func(n *api.Node) { n.Role = api.NodeRole_MANAGER })
		w.node("n2", func(n *api.Node) { n.Description.Platform = &api.Platform{Os: "linux", Architecture: "arm64"} })
		w.node("n3", func(n *api.Node) { n.Description.Platform = &api.Platform{Os: "linux", Architecture: "amd64"} })
		spec := global("agent")
		spec.Placement = &api.Placement{Constraints: []string{"node.role==worker"}, Platforms: []*api.Platform{{Os: "linux", Architecture: "x86_64"}}}
		w.apply(spec)
		w.always(time.Second, "never elsewhere", func() bool { return len(w.tasks("agent")) <= 1 })
		if got := w.running("agent"); !slices.Equal(got, []string{"0/1@n3"}) {
			t.Errorf("got %v", got)
		}
		w.node("n3", func(n *api.Node) { n.Role = api.NodeRole_MANAGER })
		w.wait(3*time.Second, "stopped", func() bool { return w.alive("agent") == 0 })
	})
}

func TestGlobalRestartsOnItsNode(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		tries := 0
		w.fails = func(t *api.Task) bool { tries++; return t.NodeId == "n2" && tries < 4 }
		w.apply(global("agent"))
		w.wait(20*time.Second, "both run", func() bool { return slices.Equal(w.running("agent"), []string{"0/1@n1", "0/1@n2"}) })
	})
}

func TestOrphanIsReplacedWhateverThePolicy(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		spec := replicated("web", 3)
		spec.Restart = &api.RestartPolicy{Condition: api.RestartPolicy_NONE}
		w.apply(spec)
		w.runs(time.Second, "web", 3, 1)
		w.down("n3")
		w.runs(3*time.Second, "web", 3, 1)
	})
}

func TestEndedTaskOfARemovedNodeStaysEnded(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		spec := replicated("job", 1)
		spec.Restart = &api.RestartPolicy{Condition: api.RestartPolicy_NONE}
		w.apply(spec)
		w.runs(time.Second, "job", 1, 1)
		w.update(func(tx *store.Tx) error {
			task := proto.CloneOf(tx.Tasks().List()[0])
			task.Status = &api.TaskStatus{State: api.TaskState_COMPLETE, Timestamp: timestamppb.Now()}
			return tx.Tasks().Update(task)
		})
		node := w.tasks("job")[0].NodeId
		w.update(func(tx *store.Tx) error { return tx.Nodes().Delete(node) })
		w.always(3*time.Second, "one task, complete", func() bool { return len(w.tasks("job")) == 1 && w.states("job", api.TaskState_COMPLETE) == 1 })
	})
}
