package orchestrator

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Whatever happens in whatever order: when it is over, every service is what its spec says,
// every slot has one task, and meanwhile no stop-first slot ever had two, no start-first slot three.
func TestChaos(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 5 // under the race detector each takes seconds
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, 5, func(w *world) { chaos(w, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func chaos(w *world, r *rand.Rand) {
	w.update(func(tx *store.Tx) error { return tx.Networks().Create(network("app", "10.9.0.0/24")) })
	web, agent := onNetwork(replicated("web", 6), "app"), global("agent")
	web.Restart = &api.RestartPolicy{Delay: seconds(1)}
	web.Update = &api.UpdateConfig{Parallelism: 2, Delay: seconds(0.5), Monitor: seconds(1), FailureAction: api.UpdateConfig_FailureAction(r.IntN(3))}
	web.Rollback = proto.CloneOf(web.Update)
	if r.IntN(2) == 0 {
		web.Update.Order = api.UpdateConfig_START_FIRST
	}
	web.Rollback.Order = web.Update.Order
	w.apply(web)
	w.endpoint("web", &api.Endpoint{}, "")
	agent.Update = &api.UpdateConfig{Parallelism: 1, FailureAction: api.UpdateConfig_FAIL_CONTINUE}
	w.apply(agent)
	bad, image := map[uint64]bool{}, 0
	for range 40 {
		node := fmt.Sprintf("n%d", 1+r.IntN(5))
		switch r.IntN(8) {
		case 0:
			web = proto.CloneOf(w.service("web").Spec)
			web.Mode.Replicas = uint64(r.IntN(12))
			w.apply(web)
		case 1:
			image++
			web = proto.CloneOf(w.service("web").Spec)
			web.Container.Image = fmt.Sprint("image", image)
			w.apply(web)
			synctest.Wait()
			bad[w.service("web").Revision] = r.IntN(3) == 0
			w.fails = func(t *api.Task) bool { return t.ServiceName == "web" && bad[t.Revision] }
		case 2:
			w.down(node)
		case 3:
			w.back(node)
		case 4:
			w.node(node, func(n *api.Node) { n.Spec.Availability = api.NodeSpec_Availability(r.IntN(3)) })
		case 5:
			w.stop()
			<-w.ended
			w.lead()
		case 6:
			w.crash(r)
		case 7:
			agent.Container.Image = fmt.Sprint("image", r.IntN(100))
			w.apply(proto.CloneOf(agent))
		}
		for end := time.Now().Add(time.Duration(r.IntN(4000)) * time.Millisecond); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			w.checkSlots()
		}
	}
	// Peace: all nodes are back and a good revision is asked for.
	for i := range 5 {
		w.back(fmt.Sprintf("n%d", i+1))
		w.node(fmt.Sprintf("n%d", i+1), func(n *api.Node) { n.Spec.Availability = api.NodeSpec_ACTIVE })
	}
	w.fails = func(*api.Task) bool { return false }
	web = proto.CloneOf(w.service("web").Spec)
	web.Container.Image = "last"
	web.Mode.Replicas = 7
	w.apply(web)
	w.updateState(2*time.Minute, "web", api.UpdateStatus_COMPLETED)
	w.runs(10*time.Second, "web", 7, w.service("web").Revision)
	w.runs(2*time.Minute, "agent", 5, w.service("agent").Revision)
	w.wait(10*time.Second, "nothing else runs", func() bool { return w.alive("web") == 7 && w.alive("agent") == 5 })
	w.remove("web")
	w.remove("agent")
	w.wait(10*time.Second, "nothing is left", func() bool {
		left := 1
		w.s.View(func(tx *store.Tx) {
			left = len(tx.Tasks().List()) + len(tx.Services().List()) + len(tx.Revisions().List())
		})
		return left == 0
	})
}

// crash makes a running task fail.
func (w *world) crash(r *rand.Rand) {
	w.update(func(tx *store.Tx) error {
		for _, i := range r.Perm(len(tx.Tasks().List())) {
			t := proto.CloneOf(tx.Tasks().List()[i])
			if t.Status.State == api.TaskState_RUNNING && !w.deaf[t.NodeId] {
				t.Status = &api.TaskStatus{State: api.TaskState_FAILED, Err: "crashed"}
				return tx.Tasks().Update(t)
			}
		}
		return nil
	})
}

// checkSlots: one running task per slot (two while a start-first update hands over), one address per task.
func (w *world) checkSlots() {
	w.t.Helper()
	synctest.Wait()
	startFirst := w.service("web").Spec.Update.GetOrder() == api.UpdateConfig_START_FIRST
	most := 1
	if startFirst {
		most = 2 // the old and the new
	}
	slots, addrs := map[uint64]int{}, map[string]string{}
	for _, t := range w.tasks("web") {
		stopping := t.DesiredState > api.TaskState_RUNNING
		if t.Status.State == api.TaskState_RUNNING && !w.deaf[t.NodeId] && !(startFirst && stopping) {
			if slots[t.Slot]++; slots[t.Slot] > most {
				w.t.Fatalf("slot %d has %d running tasks\n%s", t.Slot, slots[t.Slot], w.dump())
			}
		}
		if t.Status.State > api.TaskState_RUNNING {
			continue
		}
		for _, n := range t.Networks {
			if other := addrs[n.Addresses[0]]; other != "" {
				w.t.Fatalf("tasks %s and %s have address %s", other, t.Id, n.Addresses[0])
			}
			addrs[n.Addresses[0]] = t.Id
		}
	}
}
