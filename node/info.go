//go:build linux

package node

import (
	"context"
	"os"

	"github.com/shoal-dev/shoal/proto/api"
)

// count fills in how many containers and images there are.
func (n *Node) count(ctx context.Context, r *api.InfoResponse) error {
	all, err := n.engine.List(ctx, &api.ListContainersRequest{All: true})
	if err != nil {
		return err
	}
	for _, c := range all {
		r.Containers++
		switch c.State {
		case api.ContainerState_CONTAINER_RUNNING, api.ContainerState_RESTARTING:
			r.ContainersRunning++
		case api.ContainerState_PAUSED:
			r.ContainersPaused++
		default:
			r.ContainersStopped++
		}
	}
	images, err := n.engine.Images().List(ctx)
	if err != nil {
		return err
	}
	r.Images = int32(len(images))
	return nil
}

// cgroupVersion is 2 where the limits are in the unified hierarchy, 1 elsewhere, also on hybrid hosts.
func cgroupVersion() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "2"
	}
	return "1"
}
