//go:build linux

package engine

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// newRow checks a request and writes it as a row.
func (e *Engine) newRow(ctx context.Context, req *api.CreateContainerRequest, o CreateOptions, image *Image) (*api.Container, error) {
	cid := cmp.Or(o.ID, id.NewHex())
	if !isID(cid) {
		return nil, errorf(ErrInvalid, "container ID %q is not 64 hexadecimal digits", cid)
	}
	if req.Name != "" {
		if err := checkName(req.Name); err != nil {
			return nil, err
		}
	}
	argv, err := spec.Command(req.Spec, image.Config)
	if err != nil {
		return nil, errorf(ErrInvalid, "%w", err)
	}
	row := &api.Container{
		Id: cid, Name: req.Name, CreatedAt: timestamppb.Now(), Spec: withLabels(req.Spec, image.Config.Labels),
		ImageId: image.ID, ImageName: image.Name, Command: argv,
		AutoRemove: req.AutoRemove, Restart: req.Restart, TaskId: o.TaskID,
		Runtime: req.Spec.Runtime, Driver: "overlay",
		PublishAll: req.PublishAll, PortBindings: req.Ports,
		User: cmp.Or(req.Spec.User, image.Config.User), Workdir: spec.Workdir(req.Spec, image.Config),
	}
	if err := e.checkNetwork(req, row); err != nil {
		return nil, err
	}
	row.ExposedPorts = exposedPorts(req, image.Config.ExposedPorts)
	row.Hostname = e.hostname(row)
	row.Env = spec.Env(req.Spec, image.Config, row.Hostname)
	row.LogPath = logPath(row, e.rowDir(cid))
	if err := e.checkRequest(req, row, image); err != nil {
		return nil, err
	}
	if row.Mounts, err = e.mountPoints(ctx, req, image); err != nil {
		return nil, err
	}
	return row, e.chooseLabels(row)
}

// withLabels is a specification with the image's labels too, where it does not say otherwise: filters, events and prune go by all of them.
func withLabels(s *api.ContainerSpec, image map[string]string) *api.ContainerSpec {
	if len(image) == 0 {
		return s
	}
	out := proto.Clone(s).(*api.ContainerSpec)
	out.Labels = maps.Clone(image)
	maps.Copy(out.Labels, s.GetLabels())
	return out
}

// hostname is the one the container sees: its own, or the host's where it shares the host's network.
func (e *Engine) hostname(row *api.Container) string {
	switch {
	case row.Spec.UtsMode == "host":
		return ""
	case row.Spec.Hostname != "":
		return row.Spec.Hostname
	case row.NetworkMode == NetworkHost:
		return e.cfg.Hostname
	default:
		return row.Id[:12]
	}
}

// logPath is where the shim writes; "" for a driver that keeps nothing.
func logPath(row *api.Container, dir string) string {
	if row.Spec.GetLog().GetDriver() == "none" {
		return ""
	}
	return filepath.Join(dir, row.Id+"-json.log")
}

// isID knows a container's ID, which is the name of its cgroup, too.
func isID(s string) bool { return names.Hex(s, 64, 64) }

// otherRuntime is the program of a runtime that is not our own, "" for ours.
func otherRuntime(name string) (path string, err error) {
	if name == "" || name == "shoal" {
		return "", nil
	}
	return runtime.LookOther(name)
}
