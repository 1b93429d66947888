package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

func serviceOf(replicas uint64, revision uint64) *api.Service {
	return &api.Service{Id: "s", Revision: revision, Spec: &api.ServiceSpec{Name: "web", Container: &api.ContainerSpec{Image: "web"}, Mode: &api.ServiceMode{Replicas: replicas}}}
}

func taskOf(slot, revision uint64, state api.TaskState, problem string) *api.Task {
	return &api.Task{
		Id: fmt.Sprintf("t%d.%d", slot, revision), ServiceId: "s", Slot: slot, Revision: revision, DesiredState: api.TaskState_RUNNING,
		Meta: &api.Meta{CreatedAt: timestamppb.New(time.Unix(int64(revision), 0))}, Status: &api.TaskStatus{State: state, Err: problem},
	}
}

func taskChange(t *api.Task) *api.Change {
	return &api.Change{Kind: api.ChangeKind_UPDATE, Object: &api.Object{Kind: &api.Object_Task{Task: t}}}
}

func message(changes ...*api.Change) *api.WatchMessage { return &api.WatchMessage{Changes: changes} }

func TestConvergence(t *testing.T) {
	running := api.TaskState_RUNNING
	tasks := func(ts ...*api.Task) (out []*api.TaskInfo) {
		for _, t := range ts {
			out = append(out, &api.TaskInfo{Task: t})
		}
		return out
	}
	withUpdate := func(s *api.Service, state api.UpdateStatus_State) *api.Service {
		s.UpdateStatus = &api.UpdateStatus{State: state, Message: "why"}
		return s
	}
	extra := taskOf(3, 1, running, "")
	leaving := taskOf(3, 1, running, "")
	leaving.DesiredState = api.TaskState_REMOVE
	onDown := taskOf(1, 1, running, "")
	onDown.NodeId = "down"
	for name, tc := range map[string]struct {
		service *api.Service
		tasks   []*api.TaskInfo
		overall string
		done    bool
		err     string
	}{
		"nothing yet":             {serviceOf(2, 1), nil, "0 out of 2", false, ""},
		"half":                    {serviceOf(2, 1), tasks(taskOf(1, 1, running, "")), "1 out of 2", false, ""},
		"all":                     {serviceOf(2, 1), tasks(taskOf(1, 1, running, ""), taskOf(2, 1, running, "")), "2 out of 2", true, ""},
		"no replicas":             {serviceOf(0, 1), nil, "0 out of 0", true, ""},
		"old revision":            {serviceOf(1, 2), tasks(taskOf(1, 1, running, "")), "0 out of 1", false, ""},
		"new beside old":          {serviceOf(1, 2), tasks(taskOf(1, 1, running, ""), taskOf(1, 2, running, "")), "1 out of 1", true, ""},
		"scale down to come":      {serviceOf(2, 1), tasks(taskOf(1, 1, running, ""), taskOf(2, 1, running, ""), extra), "2 out of 2", false, ""},
		"scale down done":         {serviceOf(2, 1), tasks(taskOf(1, 1, running, ""), taskOf(2, 1, running, ""), leaving), "2 out of 2", true, ""},
		"its node is down":        {serviceOf(1, 1), tasks(onDown), "0 out of 1", false, ""},
		"still monitoring":        {withUpdate(serviceOf(1, 1), api.UpdateStatus_UPDATING), tasks(taskOf(1, 1, running, "")), "1 out of 1", false, ""},
		"update completed":        {withUpdate(serviceOf(1, 1), api.UpdateStatus_COMPLETED), tasks(taskOf(1, 1, running, "")), "1 out of 1", true, ""},
		"update paused":           {withUpdate(serviceOf(1, 1), api.UpdateStatus_PAUSED), nil, "0 out of 1", false, "service update paused: why"},
		"rolling back":            {withUpdate(serviceOf(1, 1), api.UpdateStatus_ROLLBACK_STARTED), tasks(taskOf(1, 1, running, "")), "1 out of 1", false, ""},
		"rolled back":             {withUpdate(serviceOf(1, 1), api.UpdateStatus_ROLLBACK_COMPLETED), tasks(taskOf(1, 1, running, "")), "1 out of 1", true, "service rolled back: why"},
		"removed while we waited": {&api.Service{Id: "s", PendingDelete: true}, nil, "0 out of 0", false, "the service was removed meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			down := &api.Node{Id: "down", Status: &api.NodeStatus{State: api.NodeStatus_DOWN}}
			p := newConvergence(tc.service, tc.tasks, []*api.Node{down}).look()
			err := ""
			if p.err != nil {
				err = p.err.Error()
			}
			if !strings.Contains(p.overall(), tc.overall) || p.done != tc.done || err != tc.err {
				t.Errorf("got %q done %v err %q", p.overall(), p.done, err)
			}
		})
	}
}

func TestConvergenceGlobal(t *testing.T) {
	s := &api.Service{Id: "s", Revision: 1, Spec: &api.ServiceSpec{Mode: &api.ServiceMode{Global: true}}}
	one, two := taskOf(0, 1, api.TaskState_RUNNING, ""), taskOf(0, 1, api.TaskState_STARTING, "")
	one.NodeId, two.NodeId, two.Id = "n1", "n2", "other"
	v := newConvergence(s, nil, []*api.Node{{Id: "n1", Description: &api.NodeDescription{Hostname: "one"}}})
	if v.look().done {
		t.Error("done before a task was made")
	}
	v.apply(taskChange(one))
	v.apply(taskChange(two))
	if p := v.look(); p.done || p.overall() != "overall progress: 1 out of 2 tasks" || p.lines[1].name != "one" {
		t.Errorf("%+v", p)
	}
	up := taskOf(0, 1, api.TaskState_RUNNING, "")
	up.Id, up.NodeId = "other", "n2"
	v.apply(taskChange(up))
	if !v.look().done {
		t.Error("not done with all running")
	}
}

// TestWaitLines follows a whole create through the watch, with the plain lines that a pipe gets.
func TestWaitLines(t *testing.T) {
	f := newFake(t)
	f.control.changes = make(chan *api.WatchMessage, 10)
	change := func(slot uint64, state api.TaskState, problem string) *api.Change {
		task := taskOf(slot, 1, state, problem)
		task.ServiceId = "service9"
		return taskChange(task)
	}
	f.control.changes <- message(change(1, api.TaskState_PENDING, "no suitable node (1 node not available)"), change(2, api.TaskState_STARTING, ""))
	f.control.changes <- message(change(2, api.TaskState_RUNNING, ""))
	f.control.changes <- message(change(1, api.TaskState_RUNNING, ""))
	r := f.run(t, "", "service", "create", "--name", "web", "--replicas", "2", "web:1")
	want := "service9\noverall progress: 0 out of 2 tasks\n1/2: no suitable node (1 node not available)\noverall progress: 1 out of 2 tasks\noverall progress: 2 out of 2 tasks\nverify: Service converged\n"
	if r.out != want || r.code != 0 {
		t.Errorf("exit code %d, stderr %q\n got %q\nwant %q", r.code, r.err, r.out, want)
	}
}

// TestWaitReconnects: a watch that fell behind is opened again and everything read anew.
func TestWaitReconnects(t *testing.T) {
	f := newFake(t)
	f.control.services = []*api.Service{serviceOf(1, 1)}
	first := make(chan *api.WatchMessage)
	close(first)
	f.control.changes = first
	go func() {
		f.control.mu.Lock()
		defer f.control.mu.Unlock()
		f.control.services[0] = serviceOf(0, 1)
	}()
	if r := f.run(t, "", "service", "scale", "web=0"); r.code != 0 || !strings.HasSuffix(r.out, converged+"\n") {
		t.Errorf("%+v", r)
	}
}

func TestWaitPaused(t *testing.T) {
	f := newFake(t)
	s := serviceOf(1, 1)
	s.UpdateStatus = &api.UpdateStatus{State: api.UpdateStatus_PAUSED, Message: "update paused due to failure of task x"}
	f.control.services = []*api.Service{s}
	r := f.run(t, "", "service", "update", "-q", "--force", "web")
	if r.code != 1 || r.err != "shoal: service update paused: update paused due to failure of task x\n" {
		t.Errorf("%+v", r)
	}
}

func TestLiveProgress(t *testing.T) {
	var b bytes.Buffer
	w := &liveProgress{w: &b, width: 80}
	p := progress{wanted: 2, lines: []taskLine{{"1/2", api.TaskState_PREPARING, ""}, {"2/2", api.TaskState_PENDING, "no suitable node"}}}
	w.show(p)
	p.running, p.lines[0].state = 1, api.TaskState_RUNNING
	w.show(p)
	many := progress{wanted: 30}
	for i := range 30 {
		many.lines = append(many.lines, taskLine{fmt.Sprint(i), api.TaskState_PENDING, []string{"", "no suitable node"}[i%2]})
	}
	w.show(many)
	w.end(many)
	golden(t, "live_progress", strings.ReplaceAll(b.String(), "\x1b", "ESC"))
}
