package control

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// ListTasks returns the tasks of a service, of a node, of both, or all, with the names a person wants to see.
func (s *Server) ListTasks(_ context.Context, r *api.ListTasksRequest) (*api.ListTasksResponse, error) {
	resp := &api.ListTasksResponse{}
	s.store.View(func(tx *store.Tx) {
		var by []store.By
		if r.ServiceId != "" {
			by = append(by, store.ByService(r.ServiceId))
		}
		if r.NodeId != "" {
			by = append(by, store.ByNode(r.NodeId))
		}
		for _, t := range tx.Tasks().List(by...) {
			resp.Tasks = append(resp.Tasks, info(tx, t))
		}
	})
	return resp, nil
}

// GetTask returns one with the revision that it runs.
func (s *Server) GetTask(_ context.Context, r *api.GetTaskRequest) (*api.GetTaskResponse, error) {
	resp := &api.GetTaskResponse{}
	var err error
	s.store.View(func(tx *store.Tx) {
		var t *api.Task
		if t, err = tx.Tasks().Find(r.Ref); err == nil {
			resp.Task = info(tx, t)
			resp.Revision = tx.Revisions().Get(RevisionID(t.ServiceId, t.Revision))
		}
	})
	if err != nil {
		return nil, toStatus(err, "task: "+r.Ref)
	}
	return resp, nil
}

func info(tx *store.Tx, t *api.Task) *api.TaskInfo {
	i := &api.TaskInfo{Task: t}
	if n := tx.Nodes().Get(t.NodeId); n != nil {
		i.NodeHostname = displayName(n)
	}
	if rev := tx.Revisions().Get(RevisionID(t.ServiceId, t.Revision)); rev != nil {
		i.Image = rev.Spec.GetContainer().GetImage()
	}
	return i
}

// ServiceLogs passes on what the service's (or one task's) containers wrote.
func (s *Server) ServiceLogs(r *api.ServiceLogsRequest, stream grpc.ServerStreamingServer[api.ServiceLogsMessage]) error {
	messages, err := s.subscribe(stream.Context(), r)
	if err != nil {
		return err
	}
	for m := range messages {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return status.FromContextError(stream.Context().Err()).Err()
}

// subscribe asks for the logs of what there is, or, to follow a service, of what there will be.
func (s *Server) subscribe(ctx context.Context, r *api.ServiceLogsRequest) (<-chan *api.ServiceLogsMessage, error) {
	if r.TaskId == "" && r.Options.GetFollow() {
		var svc *api.Service
		var err error
		s.store.View(func(tx *store.Tx) { svc, err = tx.Services().Find(r.ServiceId) })
		if err != nil {
			return nil, toStatus(err, "service: "+r.ServiceId)
		}
		return s.deps.Logs.SubscribeService(ctx, svc.Id, r.Options)
	}
	tasks, err := s.logTasks(r)
	if err != nil {
		return nil, err
	}
	return s.deps.Logs.Subscribe(ctx, tasks, r.Options)
}

// logTasks finds the tasks that have run somewhere.
func (s *Server) logTasks(r *api.ServiceLogsRequest) (tasks []*api.Task, err error) {
	s.store.View(func(tx *store.Tx) {
		if r.TaskId != "" {
			var t *api.Task
			if t, err = tx.Tasks().Find(r.TaskId); err != nil {
				err = toStatus(err, "task: "+r.TaskId)
				return
			}
			tasks = []*api.Task{t}
		} else {
			var svc *api.Service
			if svc, err = tx.Services().Find(r.ServiceId); err != nil {
				err = toStatus(err, "service: "+r.ServiceId)
				return
			}
			tasks = tx.Tasks().List(store.ByService(svc.Id))
		}
	})
	if err != nil {
		return nil, err
	}
	var ran []*api.Task
	for _, t := range tasks {
		if t.NodeId != "" && t.Status.GetContainer().GetContainerId() != "" {
			ran = append(ran, t)
		}
	}
	if len(ran) == 0 && r.TaskId != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "task %s has not started a container yet: see 'shoal service ps'", r.TaskId)
	}
	return ran, nil
}
