//go:build linux

package server

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

func (s *containers) Events(r *api.EventsRequest, stream grpc.ServerStreamingServer[api.Event]) error {
	return toStatus(s.engine.Watch(stream.Context(), moment(r.Since), moment(r.Until), stream.Send))
}

// moment is zero for none.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
