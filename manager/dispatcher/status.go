package dispatcher

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// UpdateTaskStatus writes down what a node reports of its tasks. What is not news, not the node's own or a step back
// is left out: a report that arrives twice or late does no harm.
func (d *Dispatcher) UpdateTaskStatus(ctx context.Context, r *api.UpdateTaskStatusRequest) (*api.UpdateTaskStatusResponse, error) {
	who, err := d.deps.Caller(ctx)
	if err != nil {
		return nil, err
	}
	node, err := onBehalf(who, r.NodeId)
	if err != nil {
		return nil, err
	}
	for _, u := range r.Updates {
		if !reportable(u.Status) {
			return nil, status.Errorf(codes.InvalidArgument, "node %s: task %s: %s is not a state that a node reports",
				node, u.TaskId, u.Status.GetState())
		}
	}
	if d.deps.IsLeader() {
		err := d.writeStatus(ctx, node, r.Updates)
		if !errors.Is(err, store.ErrNotLeader) {
			return &api.UpdateTaskStatusResponse{}, err
		}
	}
	if r.NodeId != "" && node != who.NodeID {
		return nil, status.Errorf(codes.Unavailable, "manager %s is not the leader", d.deps.NodeID) // forward once only
	}
	l, err := d.leader(ctx)
	if err != nil {
		return nil, err
	}
	return l.UpdateTaskStatus(ctx, &api.UpdateTaskStatusRequest{NodeId: node, Updates: r.Updates})
}

// reportable tells whether a state is one that agents write: those below and ORPHANED are the managers'.
func reportable(s *api.TaskStatus) bool {
	state := s.GetState()
	return state >= api.TaskState_ACCEPTED && state <= api.TaskState_REJECTED
}

func (d *Dispatcher) writeStatus(ctx context.Context, node string, updates []*api.UpdateTaskStatusRequest_Update) error {
	err := d.store.Update(ctx, func(tx *store.Tx) error {
		for _, u := range updates {
			t := tx.Tasks().Get(u.TaskId)
			if t == nil || t.NodeId != node {
				continue
			}
			now := reported(t, u.Status)
			if proto.Equal(now, t) {
				continue
			}
			t = now
			if err := tx.Tasks().Update(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrNotLeader) {
		return status.Errorf(codes.Unavailable, "write the task status of node %s: %v", node, err)
	}
	return err
}

// reported is a task as a report leaves it. An orphaned one stays what it is, but when its node is back and has stopped it, nobody
// uses its addresses any more.
func reported(t *api.Task, s *api.TaskStatus) *api.Task {
	t = proto.CloneOf(t)
	switch {
	case news(t.Status, s):
		t.Status = s
	case t.Status.GetState() == api.TaskState_ORPHANED && s.State > api.TaskState_RUNNING:
		t.GatewayAddresses = nil
		for _, n := range t.Networks {
			n.Addresses = nil
		}
	}
	return t
}

// news tells whether a report changes a status: states never go back, an ended task stays as it ended.
func news(old, now *api.TaskStatus) bool {
	if old.GetState() > api.TaskState_RUNNING || now.State < old.GetState() {
		return false
	}
	return !proto.Equal(old, now)
}
