package manager

import (
	"context"
	"testing"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Who follows a service's logs hears of tasks that begin later: an update or a failure replaces all that were there.
func TestFollowedLogsHaveLaterTasks(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	check(t, a.store.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.Nodes().Create(&api.Node{Id: "gone", Spec: &api.NodeSpec{}, Status: &api.NodeStatus{State: api.NodeStatus_DOWN}}); err != nil {
			return err
		}
		return tx.Services().Create(&api.Service{Id: "s", Spec: &api.ServiceSpec{Name: "web", Mode: &api.ServiceMode{}, Container: &api.ContainerSpec{Image: "web"}}})
	}))
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	stream, err := a.control().ServiceLogs(ctx, &api.ServiceLogsRequest{ServiceId: "web", Options: &api.LogOptions{Follow: true, Tail: -1}})
	check(t, err)
	eventually(t, "the request to be there", func() bool { return a.logs.Subscriptions() == 1 })
	// Its node has no stream, so that what comes is the word that its logs are missing.
	check(t, a.store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Tasks().Create(&api.Task{Id: "later", ServiceId: "s", NodeId: "gone", Slot: 1, DesiredState: api.TaskState_REMOVE,
			Status: &api.TaskStatus{State: api.TaskState_RUNNING}})
	}))
	m, err := stream.Recv()
	check(t, err)
	if m.TaskId != "later" || m.Warning == "" {
		t.Errorf("got %v", m)
	}
}
