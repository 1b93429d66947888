package orchestrator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// image is the spec with another image and the given update settings.
func image(spec *api.ServiceSpec, image string, u *api.UpdateConfig) *api.ServiceSpec {
	spec = proto.CloneOf(spec)
	spec.Container.Image, spec.Update = image, u
	return spec
}

func TestRollingUpdateStopFirst(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 6)
		w.apply(web)
		w.runs(time.Second, "web", 6, 1)
		start := time.Now()
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 2, Delay: seconds(3), Monitor: seconds(2)}))
		w.wait(60*time.Second, "all of revision 2", func() bool {
			if n := w.alive("web"); n < 4 || n > 6 {
				t.Fatalf("%d tasks run\n%s", n, w.dump())
			}
			return len(w.running("web")) == 6 && !strings.Contains(strings.Join(w.running("web"), " "), "/1@")
		})
		// Three rounds of two, one second to stop, three seconds of delay between them.
		if took := time.Since(start); took < 8*time.Second || took > 12*time.Second {
			t.Errorf("took %s, want about 9 s", took)
		}
		if s := w.service("web").UpdateStatus.State; s != api.UpdateStatus_UPDATING {
			t.Errorf("%s before the end of the monitor period", s)
		}
		w.updateState(3*time.Second, "web", api.UpdateStatus_COMPLETED)
		u := w.service("web").UpdateStatus
		if u.StartedAt == nil || u.CompletedAt == nil || u.Message != "update completed" {
			t.Errorf("%v", u)
		}
	})
}

func TestRollingUpdateStartFirst(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 4)
		w.apply(web)
		w.runs(time.Second, "web", 4, 1)
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 1, Order: api.UpdateConfig_START_FIRST, Monitor: seconds(1)}))
		w.wait(30*time.Second, "all of revision 2", func() bool {
			if n := w.alive("web"); n < 4 {
				t.Fatalf("%d tasks run\n%s", n, w.dump())
			}
			return !strings.Contains(strings.Join(w.running("web"), " "), "/1@")
		})
		w.updateState(3*time.Second, "web", api.UpdateStatus_COMPLETED)
		w.runs(0, "web", 4, 2)
	})
}

func TestStartFirstWithHostPortStopsFirst(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		web := replicated("web", 1)
		web.Endpoint = &api.EndpointSpec{Ports: []*api.PortConfig{{TargetPort: 80, PublishedPort: 80, Mode: api.PublishMode_HOST}}}
		w.apply(web)
		w.endpoint("web", &api.Endpoint{Ports: web.Endpoint.Ports}, "")
		w.runs(time.Second, "web", 1, 1)
		w.apply(image(web, "two", &api.UpdateConfig{Order: api.UpdateConfig_START_FIRST}))
		w.wait(10*time.Second, "revision 2", func() bool {
			if w.alive("web") > 1 {
				t.Fatal("two tasks at a time on one host port")
			}
			return slices.Equal(w.running("web"), []string{"1/2@n1"})
		})
	})
}

func TestUpdateAllAtOnce(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 9)
		w.apply(web)
		w.runs(time.Second, "web", 9, 1)
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 0}))
		w.runs(1500*time.Millisecond, "web", 9, 2)
	})
}

func TestUpdateGlobal(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		agent := global("agent")
		w.apply(agent)
		w.runs(time.Second, "agent", 3, 1)
		w.apply(image(agent, "two", &api.UpdateConfig{Parallelism: 1, Monitor: seconds(1)}))
		w.wait(20*time.Second, "all of revision 2", func() bool {
			if w.alive("agent") < 2 {
				t.Fatal("more than one at a time")
			}
			return slices.Equal(w.running("agent"), []string{"0/2@n1", "0/2@n2", "0/2@n3"})
		})
		w.updateState(3*time.Second, "agent", api.UpdateStatus_COMPLETED)
	})
}

func failsAt(revision uint64) func(*api.Task) bool {
	return func(t *api.Task) bool { return t.Revision == revision }
}

func TestUpdatePausesOnFailure(t *testing.T) {
	for _, order := range []api.UpdateConfig_Order{api.UpdateConfig_STOP_FIRST, api.UpdateConfig_START_FIRST} {
		t.Run(order.String(), func(t *testing.T) {
			inWorld(t, 3, func(w *world) {
				web := replicated("web", 4)
				w.apply(web)
				w.runs(time.Second, "web", 4, 1)
				w.fails = failsAt(2)
				w.apply(image(web, "bad", &api.UpdateConfig{Parallelism: 1, Order: order}))
				w.updateState(10*time.Second, "web", api.UpdateStatus_PAUSED)
				w.always(30*time.Second, "the others are left alone", func() bool { return w.alive("web") >= 3 })
				want := "update paused: 1 of 4 tasks failed, the last: web."
				if m := w.service("web").UpdateStatus.Message; !strings.HasPrefix(m, want) || !strings.HasSuffix(m, ": exit code 1") {
					t.Errorf("message %q", m)
				}
				if order == api.UpdateConfig_START_FIRST && w.alive("web") != 4 {
					t.Errorf("start-first lost a task\n%s", w.dump())
				}
				// A new spec starts a new update.
				w.apply(image(web, "three", &api.UpdateConfig{Parallelism: 1, Monitor: seconds(1)}))
				w.updateState(60*time.Second, "web", api.UpdateStatus_COMPLETED)
				w.runs(0, "web", 4, 3)
			})
		})
	}
}

func TestUpdateContinues(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 4)
		w.apply(web)
		w.runs(time.Second, "web", 4, 1)
		failures := 0
		w.fails = func(t *api.Task) bool {
			if t.Revision == 2 && t.Slot == 1 && failures < 2 {
				failures++
				return true
			}
			return false
		}
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 1, FailureAction: api.UpdateConfig_FAIL_CONTINUE, Monitor: seconds(1)}))
		w.updateState(60*time.Second, "web", api.UpdateStatus_COMPLETED)
		w.runs(0, "web", 4, 2)
	})
}

func TestFailureRatioTolerates(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 4)
		w.apply(web)
		w.runs(time.Second, "web", 4, 1)
		once := true
		w.fails = func(t *api.Task) bool {
			failing := t.Revision == 2 && once
			once = once && !failing
			return failing
		}
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 1, MaxFailureRatio: 0.3, Monitor: seconds(1)}))
		w.updateState(60*time.Second, "web", api.UpdateStatus_COMPLETED)
	})
}

func TestUpdateRollsBack(t *testing.T) {
	for _, order := range []api.UpdateConfig_Order{api.UpdateConfig_STOP_FIRST, api.UpdateConfig_START_FIRST} {
		t.Run(order.String(), func(t *testing.T) {
			inWorld(t, 3, func(w *world) {
				web := replicated("web", 4)
				w.apply(web)
				w.runs(time.Second, "web", 4, 1)
				w.fails = failsAt(2)
				bad := image(web, "bad", &api.UpdateConfig{Parallelism: 1, Order: order, FailureAction: api.UpdateConfig_FAIL_ROLLBACK})
				bad.Rollback = &api.UpdateConfig{Parallelism: 1, Order: order, Monitor: seconds(1)}
				bad.Mode.Replicas = 4
				w.apply(bad)
				w.updateState(30*time.Second, "web", api.UpdateStatus_ROLLBACK_COMPLETED)
				w.runs(0, "web", 4, 1)
				svc := w.service("web")
				if svc.Spec.Container.Image != "one" || svc.Revision != 1 || svc.PreviousRevision != 2 {
					t.Errorf("image %s, revisions %d and %d", svc.Spec.Container.Image, svc.Revision, svc.PreviousRevision)
				}
				if svc.Spec.Mode.Replicas != 4 || svc.Spec.Rollback == nil || svc.Spec.Update.GetFailureAction() != api.UpdateConfig_FAIL_ROLLBACK {
					t.Errorf("what is not part of a revision was lost: %v", svc.Spec)
				}
				w.always(10*time.Second, "it stays so", func() bool { return len(w.running("web")) == 4 })
			})
		})
	}
}

func TestRollbackThatFailsPauses(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 3)
		w.apply(web)
		w.runs(time.Second, "web", 3, 1)
		w.fails = func(*api.Task) bool { return true } // from now on nothing starts any more
		w.apply(image(web, "bad", &api.UpdateConfig{Parallelism: 1, FailureAction: api.UpdateConfig_FAIL_ROLLBACK}))
		w.updateState(30*time.Second, "web", api.UpdateStatus_ROLLBACK_PAUSED)
		w.always(20*time.Second, "two are left alone", func() bool { return w.alive("web") == 2 })
	})
}

func TestUpdateSurvivesLeaderChange(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 6)
		w.apply(web)
		w.runs(time.Second, "web", 6, 1)
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 1, Delay: seconds(1), Monitor: seconds(1)}))
		// A new leader every 700 ms.
		for range 30 {
			time.Sleep(700 * time.Millisecond)
			w.stop()
			<-w.ended
			if n := w.alive("web"); n < 5 {
				t.Fatalf("%d tasks run", n)
			}
			w.lead()
		}
		w.updateState(10*time.Second, "web", api.UpdateStatus_COMPLETED)
		w.runs(0, "web", 6, 2)
		if len(w.starts) != 12 {
			t.Errorf("%d starts, want 6 of each revision: %v", len(w.starts), w.starts)
		}
	})
}

func TestUpdateDuringUpdate(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 4)
		w.apply(web)
		w.runs(time.Second, "web", 4, 1)
		u := &api.UpdateConfig{Parallelism: 1, Delay: seconds(2), Monitor: seconds(1)}
		w.apply(image(web, "two", u))
		time.Sleep(4 * time.Second)
		w.apply(image(web, "three", u))
		w.updateState(60*time.Second, "web", api.UpdateStatus_COMPLETED)
		w.runs(0, "web", 4, 3)
	})
}

func TestUpdateRepairsWhatDoesNotRun(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		web := replicated("web", 3)
		w.fails = func(t *api.Task) bool { return t.Revision == 1 && t.Slot == 3 }
		w.apply(web)
		w.wait(5*time.Second, "two run", func() bool { return len(w.running("web")) == 2 })
		time.Sleep(20 * time.Second)
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 1, Monitor: seconds(1)}))
		w.updateState(60*time.Second, "web", api.UpdateStatus_COMPLETED)
		w.runs(0, "web", 3, 2)
	})
}

func TestNodeLossDuringUpdate(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		web := replicated("web", 8)
		w.apply(web)
		w.runs(time.Second, "web", 8, 1)
		w.apply(image(web, "two", &api.UpdateConfig{Parallelism: 1, Delay: seconds(1), Monitor: seconds(1)}))
		time.Sleep(5 * time.Second)
		w.down("n3")
		w.updateState(60*time.Second, "web", api.UpdateStatus_COMPLETED)
		w.runs(0, "web", 8, 2)
	})
}

func TestUpdateWaitsForPorts(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		web := replicated("web", 2)
		w.apply(web)
		w.runs(time.Second, "web", 2, 1)
		// The allocator's word comes with the spec here; in life it follows a moment later.
		w.update(func(tx *store.Tx) error {
			svc := proto.CloneOf(tx.Services().Get("web"))
			svc.AllocationError = "port 80/tcp is already published by service other: choose another"
			return tx.Services().Update(svc)
		})
		w.apply(image(web, "two", nil))
		w.always(5*time.Second, "nothing is stopped for it", func() bool { return w.alive("web") == 2 && len(w.tasks("web")) == 2 })
		w.endpoint("web", &api.Endpoint{}, "")
		w.updateState(30*time.Second, "web", api.UpdateStatus_COMPLETED)
	})
}

func TestScaleIsNoUpdate(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.apply(replicated("web", 2))
		w.runs(time.Second, "web", 2, 1)
		w.apply(replicated("web", 5))
		w.runs(time.Second, "web", 5, 1)
		if u := w.service("web").UpdateStatus; u != nil {
			t.Errorf("%v", u)
		}
	})
}

func TestOldRevisionsAreForgotten(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.update(func(tx *store.Tx) error {
			return tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{TaskHistoryLimit: 1}})
		})
		web := replicated("web", 1)
		w.apply(web)
		w.runs(time.Second, "web", 1, 1)
		for i, img := range []string{"two", "three", "four", "five"} {
			w.apply(image(web, img, &api.UpdateConfig{Monitor: seconds(0)}))
			w.updateState(10*time.Second, "web", api.UpdateStatus_COMPLETED)
			w.runs(0, "web", 1, uint64(i+2))
		}
		w.s.View(func(tx *store.Tx) {
			var got []string
			for _, r := range tx.Revisions().List() {
				got = append(got, r.Id)
			}
			if !slices.Equal(got, []string{"web.4", "web.5"}) {
				t.Errorf("got %v", got)
			}
		})
	})
}

// A task that failed for good, within what the update tolerates, is as far as it will come: the update ends all the same.
func TestUpdateEndsWithTasksThatStayFailed(t *testing.T) {
	for name, change := range map[string]func(*api.ServiceSpec){
		"continue":  func(s *api.ServiceSpec) { s.Update.FailureAction = api.UpdateConfig_FAIL_CONTINUE },
		"tolerated": func(s *api.ServiceSpec) { s.Update.MaxFailureRatio = 0.5 },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				spec := replicated("web", 3)
				spec.Update = &api.UpdateConfig{Parallelism: 1, Monitor: seconds(1)}
				spec.Restart = &api.RestartPolicy{Condition: api.RestartPolicy_ON_FAILURE, Delay: seconds(0.1), MaxAttempts: 2}
				change(spec)
				w.apply(spec)
				w.runs(5*time.Second, "web", 3, 1)
				w.fails = func(t *api.Task) bool { return t.Revision == 2 && t.Slot == 1 }
				next := proto.CloneOf(spec)
				next.Container.Image = "two"
				w.apply(next)
				w.updateState(time.Minute, "web", api.UpdateStatus_COMPLETED)
				w.runs(time.Second, "web", 2, 2)
			})
		})
	}
}
