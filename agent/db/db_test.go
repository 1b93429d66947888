package db

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func task(id string, remove bool) *api.Assignment {
	return &api.Assignment{Remove: remove, Kind: &api.Assignment_Task{Task: &api.Task{Id: id}}}
}

// again is the database after a restart of the daemon.
func again(t *testing.T, d *DB, path string) (*DB, Content) {
	t.Helper()
	check(t, d.Close())
	d, err := Open(path)
	check(t, err)
	t.Cleanup(func() { d.Close() })
	c, err := d.Load()
	check(t, err)
	return d, c
}

func TestWhatIsToldSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	d, err := Open(path)
	check(t, err)
	check(t, d.Apply(&api.AssignmentsMessage{Index: 7, Changes: []*api.Assignment{task("a", false), task("b", false)}}))
	check(t, d.Apply(&api.AssignmentsMessage{Type: api.AssignmentsMessage_INCREMENTAL, Index: 8, Changes: []*api.Assignment{task("a", true), task("c", false)}}))
	check(t, d.SetStatus(map[string]*api.TaskStatus{"b": {State: api.TaskState_RUNNING}, "c": {State: api.TaskState_READY}}))
	check(t, d.SetStatus(map[string]*api.TaskStatus{"c": nil}))
	check(t, d.SetManagers([]*api.WeightedManager{{NodeId: "m", Addr: "10.0.0.1:2377"}}))
	d, c := again(t, d, path)
	if c.Index != 8 || len(c.Assignments) != 2 || c.Assignments[0].GetTask().Id != "b" || c.Assignments[1].GetTask().Id != "c" {
		t.Errorf("index %d, assignments %v", c.Index, c.Assignments)
	}
	if len(c.Status) != 1 || c.Status["b"].State != api.TaskState_RUNNING {
		t.Errorf("status %v", c.Status)
	}
	if len(c.Managers) != 1 || c.Managers[0].Addr != "10.0.0.1:2377" {
		t.Errorf("managers %v", c.Managers)
	}
	// A complete message replaces everything but the status.
	check(t, d.Apply(&api.AssignmentsMessage{Index: 9, Changes: []*api.Assignment{task("z", false)}}))
	if _, c := again(t, d, path); c.Index != 9 || len(c.Assignments) != 1 || c.Assignments[0].GetTask().Id != "z" || len(c.Status) != 1 {
		t.Errorf("after a complete message: %+v", c)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	d, err := Open(path)
	check(t, err)
	defer d.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "is another daemon using it?") {
		t.Errorf("got %v", err)
	}
}
