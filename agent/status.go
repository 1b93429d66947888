//go:build linux

package agent

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/proto/api"
)

func (r *runner) state() api.TaskState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.State
}

func (r *runner) set(state api.TaskState, message, err string) {
	r.mu.Lock()
	c := r.status.Container
	r.mu.Unlock()
	r.setContainer(state, message, err, c)
}

// setContainer changes the status and reports it.
func (r *runner) setContainer(state api.TaskState, message, err string, c *api.ContainerStatus) {
	s := &api.TaskStatus{State: state, Timestamp: timestamppb.Now(), Message: message, Err: err, Container: c}
	r.mu.Lock()
	if state == api.TaskState_RUNNING {
		s.Ports = container.Ports(r.task)
	}
	r.status = s
	r.mu.Unlock()
	r.report(s)
}
