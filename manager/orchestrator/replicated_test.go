package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestHundredReplicasInOneTransaction(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		before := w.s.Index()
		w.apply(replicated("web", 100))
		w.wait(time.Second, "100 pending tasks", func() bool { return len(w.tasks("web")) == 100 })
		if n := w.s.Index() - before; n > 2 { // the service, the tasks
			t.Errorf("%d transactions", n)
		}
		for _, task := range w.tasks("web") {
			if task.Status.State != api.TaskState_PENDING || task.ServiceName != "web" || task.Revision != 1 {
				t.Fatalf("%v", task)
			}
		}
	})
}

func TestManyReplicasInSeveralTransactions(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.apply(replicated("web", 2*maxCreated+10))
		w.wait(time.Second, "all tasks", func() bool { return len(w.tasks("web")) == 2*maxCreated+10 })
	})
}

func TestScale(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.apply(replicated("web", 6))
		w.runs(time.Second, "web", 6, 1)
		w.apply(replicated("web", 2))
		w.wait(5*time.Second, "2 tasks are left", func() bool { return len(w.tasks("web")) == 2 && len(w.running("web")) == 2 })
		w.apply(replicated("web", 5))
		w.runs(time.Second, "web", 5, 1)
		w.apply(replicated("web", 0))
		w.wait(5*time.Second, "no task is left", func() bool { return len(w.tasks("web")) == 0 })
	})
}

func TestScaleDownPrefersWhatDoesNotRun(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.fails = func(t *api.Task) bool { return t.Slot == 2 }
		w.apply(replicated("web", 4))
		w.wait(time.Second, "3 of 4 run", func() bool { return len(w.running("web")) == 3 })
		w.apply(replicated("web", 3))
		w.always(3*time.Second, "slots 1, 3, 4", func() bool { return len(w.running("web")) == 3 })
		for _, task := range w.tasks("web") {
			if task.Slot == 2 {
				t.Errorf("%v", task)
			}
		}
	})
}

// A node that has given all its tasks up must not be asked for one more, in whatever order nodes are looked at.
func TestScaleToNothingOverManyNodes(t *testing.T) {
	var slots []*slot
	for i := range 24 {
		row := &api.Task{NodeId: fmt.Sprint("n", i%12), DesiredState: api.TaskState_RUNNING, Status: &api.TaskStatus{State: api.TaskState_RUNNING}}
		slots = append(slots, &slot{number: uint64(i + 1), tasks: []*task{{Task: row}}})
	}
	for n := range len(slots) + 1 {
		if got := surplus(slots, n); len(got) != n {
			t.Errorf("%d slots were given up, want %d", len(got), n)
		}
	}
}

func TestScaleDownTakesFromTheFullestNode(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.apply(replicated("web", 3))
		w.runs(time.Second, "web", 3, 1)
		w.addNode("n2")
		w.apply(replicated("web", 5)) // n1 has 3, n2 has 2
		w.runs(time.Second, "web", 5, 1)
		w.apply(replicated("web", 3))
		w.wait(5*time.Second, "2 and 1", func() bool {
			got := strings.Join(w.running("web"), " ")
			return strings.Count(got, "@n1") == 2 && strings.Count(got, "@n2") == 1 || strings.Count(got, "@n1") == 1 && strings.Count(got, "@n2") == 2
		})
	})
}

func TestFirstRestartAtOnceThenDelayed(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		tries := 0
		var at []time.Time
		w.fails = func(*api.Task) bool { tries++; at = append(at, time.Now()); return tries <= 3 }
		w.apply(replicated("web", 1))
		w.runs(20*time.Second, "web", 1, 1)
		var gaps []string
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, at[i].Sub(at[i-1]).Round(500*time.Millisecond).String())
		}
		if want := []string{"0s", "5s", "5s"}; !slices.Equal(gaps, want) {
			t.Errorf("pauses between starts %v, want %v", gaps, want)
		}
		if got := w.tasks("web"); len(got) != 4 {
			t.Errorf("%d rows, want 4\n%s", len(got), w.dump())
		}
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy *api.RestartPolicy
		exit   api.TaskState
		starts int
		stay   string
	}{
		{"any", &api.RestartPolicy{Delay: seconds(1)}, api.TaskState_COMPLETE, 6, ""},
		{"on-failure, ends well", &api.RestartPolicy{Condition: api.RestartPolicy_ON_FAILURE}, api.TaskState_COMPLETE, 1,
			"done: the restart condition is on-failure"},
		{"on-failure, fails", &api.RestartPolicy{Condition: api.RestartPolicy_ON_FAILURE, Delay: seconds(1)}, api.TaskState_FAILED, 6, ""},
		{"none", &api.RestartPolicy{Condition: api.RestartPolicy_NONE}, api.TaskState_FAILED, 1, "not restarted: the restart condition is none"},
		{"three attempts", &api.RestartPolicy{MaxAttempts: 3, Delay: seconds(0.1)}, api.TaskState_FAILED, 4,
			"not restarted: 3 attempts were made, the most that the restart policy allows"},
		{"three attempts in a window", &api.RestartPolicy{MaxAttempts: 3, Delay: seconds(0.1), Window: seconds(60)}, api.TaskState_FAILED, 4,
			"not restarted: 3 attempts were made, the most that the restart policy allows"},
		{"three attempts in a short window", &api.RestartPolicy{MaxAttempts: 3, Delay: seconds(1), Window: seconds(1.5)}, api.TaskState_FAILED, 6, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				spec := replicated("job", 1)
				spec.Restart = tt.policy
				w.apply(spec)
				starts := 0
				for end := time.Now().Add(4500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					w.update(func(tx *store.Tx) error { // every task ends as soon as it runs
						for _, task := range tx.Tasks().List() {
							if task.Status.State == api.TaskState_RUNNING {
								starts++
								task = proto.CloneOf(task)
								task.Status.State = tt.exit
								if err := tx.Tasks().Update(task); err != nil {
									return err
								}
							}
						}
						return nil
					})
				}
				if starts != tt.starts {
					t.Errorf("started %d times, want %d\n%s", starts, tt.starts, w.dump())
				}
				if tt.stay != "" && !slices.ContainsFunc(w.tasks("job"), func(t *api.Task) bool { return t.Status.Message == tt.stay }) {
					t.Errorf("no task says %q\n%s", tt.stay, w.dump())
				}
			})
		})
	}
}

func TestHistoryIsLimited(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.update(func(tx *store.Tx) error {
			return tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{TaskHistoryLimit: 2}})
		})
		tries := 0
		w.fails = func(*api.Task) bool { tries++; return tries <= 8 }
		spec := replicated("web", 1)
		spec.Restart = &api.RestartPolicy{Delay: seconds(0.1)}
		w.apply(spec)
		w.runs(10*time.Second, "web", 1, 1)
		if n := len(w.tasks("web")); n != 3 {
			t.Errorf("%d rows, want the running one and 2 of history", n)
		}
	})
}

func TestRemoveService(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.apply(replicated("web", 4))
		w.runs(time.Second, "web", 4, 1)
		w.down("n2")
		w.remove("web")
		w.wait(5*time.Second, "everything is gone", func() bool {
			gone := false
			w.s.View(func(tx *store.Tx) {
				gone = tx.Services().Get("web") == nil && len(tx.Tasks().List())+len(tx.Revisions().List()) == 0
			})
			return gone
		})
	})
}

func TestRemoveBeforeAnyNode(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.apply(replicated("web", 4))
		w.wait(time.Second, "tasks", func() bool { return len(w.tasks("web")) == 4 })
		w.remove("web")
		w.wait(time.Second, "nothing is left", func() bool { return len(w.tasks("web")) == 0 && w.service("web") == nil })
	})
}

// network is one as the allocator leaves it.
func network(id, subnet string) *api.Network {
	return &api.Network{Id: id, Spec: &api.NetworkSpec{Name: id}, Vni: 4096, Ipam: []*api.IPAMConfig{{Subnet: subnet}, {Subnet: "fd00::/64"}}}
}

func onNetwork(spec *api.ServiceSpec, id string, aliases ...string) *api.ServiceSpec {
	spec.Networks = []*api.NetworkAttachmentSpec{{Network: id, Aliases: aliases}}
	return spec
}

// endpoint writes what the allocator would.
func (w *world) endpoint(service string, e *api.Endpoint, why string) {
	w.update(func(tx *store.Tx) error {
		svc := proto.CloneOf(tx.Services().Get(service))
		svc.Endpoint, svc.AllocationError = e, why
		return tx.Services().Update(svc)
	})
}

func TestAddresses(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.update(func(tx *store.Tx) error { return tx.Networks().Create(network("app", "10.9.0.0/29")) })
		w.apply(onNetwork(replicated("web", 3), "app", "www"))
		w.always(time.Second, "no tasks before the endpoint", func() bool { return len(w.tasks("web")) == 0 })
		w.endpoint("web", &api.Endpoint{VirtualIps: []*api.VirtualIP{{NetworkId: "app", Addresses: []string{"10.9.0.2", "fd00::2"}}}}, "")
		w.runs(time.Second, "web", 3, 1)
		var got []string
		for _, task := range w.tasks("web") {
			got = append(got, strings.Join(task.Networks[0].Addresses, " "))
			if task.Networks[0].Aliases[0] != "www" {
				t.Errorf("aliases %v", task.Networks[0].Aliases)
			}
		}
		slices.Sort(got)
		if want := []string{"10.9.0.3/29 fd00::3/64", "10.9.0.4/29 fd00::4/64", "10.9.0.5/29 fd00::5/64"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		// One address is left.
		w.apply(onNetwork(replicated("web", 5), "app", "www"))
		w.runs(time.Second, "web", 4, 1)
		want := "network app: all 5 addresses of 10.9.0.0/29 are in use: stop tasks or use a larger subnet"
		w.wait(time.Second, "the reason", func() bool {
			return slices.ContainsFunc(w.tasks("web"), func(t *api.Task) bool {
				return t.Status.State == api.TaskState_NEW && t.Status.Err == want && t.Status.Message == "waiting for addresses"
			})
		})
		w.apply(onNetwork(replicated("web", 4), "app", "www"))
		w.apply(onNetwork(replicated("web", 2), "app", "www"))
		w.wait(5*time.Second, "two are left", func() bool { return len(w.tasks("web")) == 2 })
		w.apply(onNetwork(replicated("web", 4), "app", "www"))
		w.runs(5*time.Second, "web", 4, 1)
	})
}

// The address of a task that is gone is not the next one's.
func TestAddressesGoRound(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.update(func(tx *store.Tx) error { return tx.Networks().Create(network("app", "10.9.0.0/29")) })
		var got []string
		for i := range 7 {
			name := fmt.Sprint("s", i)
			w.apply(onNetwork(replicated(name, 1), "app"))
			w.endpoint(name, &api.Endpoint{}, "")
			w.runs(time.Second, name, 1, 1)
			got = append(got, strings.Split(w.tasks(name)[0].Networks[0].Addresses[0], "/")[0])
			w.remove(name)
			w.wait(5*time.Second, "it is gone", func() bool { return len(w.tasks(name)) == 0 && w.service(name) == nil })
		}
		if want := "10.9.0.2 10.9.0.3 10.9.0.4 10.9.0.5 10.9.0.6 10.9.0.2 10.9.0.3"; strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	})
}

func TestTasksSayWhatTheAllocatorCannotDo(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.update(func(tx *store.Tx) error {
			return tx.Networks().Create(&api.Network{Id: "app", Spec: &api.NetworkSpec{Name: "app"}, AllocationError: "no free /22"})
		})
		w.apply(onNetwork(replicated("web", 1), "app"))
		w.endpoint("web", nil, "waiting for network app: no free /22")
		w.wait(time.Second, "the reason", func() bool {
			got := w.tasks("web")
			return len(got) == 1 && got[0].Status.State == api.TaskState_NEW && got[0].Status.Err == "waiting for network app: no free /22"
		})
		w.update(func(tx *store.Tx) error {
			n := network("app", "10.9.0.0/24")
			n.Meta = tx.Networks().Get("app").Meta
			return tx.Networks().Update(n)
		})
		w.endpoint("web", &api.Endpoint{}, "")
		w.runs(time.Second, "web", 1, 1)
	})
}

func TestHostPortsComeFromTheSpec(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		spec := replicated("web", 1)
		spec.Endpoint = &api.EndpointSpec{Ports: []*api.PortConfig{
			{TargetPort: 80, PublishedPort: 8080}, {TargetPort: 81, PublishedPort: 8081, Mode: api.PublishMode_HOST}}}
		w.apply(spec)
		w.endpoint("web", &api.Endpoint{Ports: spec.Endpoint.Ports}, "")
		w.runs(time.Second, "web", 1, 1)
		if got := w.tasks("web")[0].HostPorts; len(got) != 1 || got[0].PublishedPort != 8081 {
			t.Errorf("host ports %v", got)
		}
	})
}

func TestTasksWithoutServiceAreRemoved(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.apply(replicated("web", 2))
		w.runs(time.Second, "web", 2, 1)
		w.update(func(tx *store.Tx) error { return tx.Services().Delete("web") })
		w.wait(5*time.Second, "no tasks", func() bool { return len(w.tasks("web")) == 0 })
	})
}

func TestManyServicesShareTransactions(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.stop()
		<-w.ended
		for i := range 40 {
			w.apply(replicated(fmt.Sprintf("s%02d", i), 1))
		}
		before := w.s.Index()
		w.lead()
		w.wait(time.Second, "all tasks", func() bool {
			n := 0
			w.s.View(func(tx *store.Tx) { n = len(tx.Tasks().List()) })
			return n == 40
		})
		if n := w.s.Index() - before; n > 2 {
			t.Errorf("%d transactions for 40 services", n)
		}
	})
}
