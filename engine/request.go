//go:build linux

package engine

import (
	"cmp"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// checkRequest refuses at creation what could not be started, on any host or on this one. The first reason counts.
func (e *Engine) checkRequest(req *api.CreateContainerRequest, row *api.Container, image *Image) error {
	_, badHealth := healthCheck(req.Spec, image.Health)
	_, badRuntime := otherRuntime(req.Spec.Runtime)
	_, _, badDevice := devices(req.Spec)
	return cmp.Or(
		checkRestart(req),
		CheckSettings(req.Spec, row.NetworkMode),
		badHealth,
		invalid(badRuntime),
		badDevice,
		checkConf(req.Spec.Limits, false),
		checkCPUs(req.Spec.Limits, row.TaskId != ""),
		addRates(&specs.LinuxResources{}, req.Spec.Limits),
	)
}
