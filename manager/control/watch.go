package control

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// watchable are the kinds that a client may follow.
var watchable = []string{"cluster", "node", "service", "task", "network"}

// Watch streams changes from this manager's own replica. A watcher that falls too far behind is told to look anew.
func (s *Server) Watch(r *api.WatchRequest, stream grpc.ServerStreamingServer[api.WatchMessage]) error {
	kinds := r.Kinds
	if len(kinds) == 0 {
		kinds = watchable
	}
	for _, k := range kinds {
		if !contains(watchable, k) {
			return invalid("cannot watch %q: kinds are cluster, node, service, task, network", k)
		}
	}
	events, stop := s.store.Watch(stream.Context(), kinds...)
	defer stop()
	if err := stream.Send(&api.WatchMessage{}); err != nil {
		return err
	}
	for batch := range events {
		if err := stream.Send(message(batch)); err != nil {
			return err
		}
	}
	if err := stream.Context().Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.ResourceExhausted, "this watch fell behind: look at everything again and watch anew")
}

func message(events []store.Event) *api.WatchMessage {
	m := &api.WatchMessage{}
	for _, e := range events {
		obj := e.New
		if obj == nil {
			obj = e.Old
		}
		if o := object(obj); o != nil {
			m.Changes = append(m.Changes, &api.Change{Kind: e.Kind, Object: o})
		}
	}
	return m
}

func object(m proto.Message) *api.Object {
	switch v := m.(type) {
	case *api.Cluster:
		return &api.Object{Kind: &api.Object_Cluster{Cluster: redact(v)}}
	case *api.Node:
		return &api.Object{Kind: &api.Object_Node{Node: v}}
	case *api.Service:
		return &api.Object{Kind: &api.Object_Service{Service: v}}
	case *api.Task:
		return &api.Object{Kind: &api.Object_Task{Task: v}}
	case *api.Network:
		return &api.Object{Kind: &api.Object_Network{Network: v}}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
