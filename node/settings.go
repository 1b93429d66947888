//go:build linux

package node

import (
	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/proto/api"
)

// checkSettings refuses a service whose tasks every node's engine would refuse, by the way a task takes there: what its agent would
// ask for, looked at as its engine would.
func checkSettings(s *api.ServiceSpec) error {
	req, err := container.Example(s)
	if err != nil {
		return err
	}
	return engine.CheckSettings(req.Spec, req.NetworkMode)
}
