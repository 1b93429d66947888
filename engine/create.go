//go:build linux

package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

var errSnapshotExists = snapshot.ErrExists

// Network modes of a container. Networks of its own, or container:ID, are the other possibilities.
const (
	NetworkBridge   = "bridge"
	NetworkHost     = "host"
	NetworkNone     = "none"
	NetworkExternal = "external" // a namespace that the caller fills between Create and Start
)

// CreateOptions describe a container to be.
type CreateOptions struct {
	Request *api.CreateContainerRequest
	TaskID  string // of the service task that this is, if any
	ID      string // 64 hexadecimal digits; "" makes one
}

func cloneRow(row *api.Container) *api.Container { return proto.CloneOf(row) }

// Create makes a container that is ready to start. With network mode "external" its Netns is there when Create
// returns. On error, or when the daemon dies on the way, nothing is left.
func (e *Engine) Create(ctx context.Context, o CreateOptions) (*api.Container, error) {
	req := proto.CloneOf(o.Request)
	if req.GetSpec() == nil {
		return nil, errorf(ErrInvalid, "create container: no spec given")
	}
	image, err := e.resolve(ctx, req.Spec.Image)
	if err != nil {
		return nil, err
	}
	row, err := e.newRow(ctx, req, o, image)
	if err != nil {
		return nil, err
	}
	if err := e.reserveName(row); err != nil {
		e.cfg.Labels.Release(labelsOf(row))
		return nil, err
	}
	c := newContainer(e.rowDir(row.Id)+creatingExt, row, req, image)
	e.setMaking(c, true)
	err = e.networksStay(row)
	if err == nil {
		err = e.make(ctx, c)
	}
	if err != nil {
		e.abandon(c)
		return nil, fmt.Errorf("create container %s: %w", row.Name, err)
	}
	e.mu.Lock()
	e.containers[c.id] = c
	delete(e.making, c.id)
	e.mu.Unlock()
	e.emit(c, "create", nil)
	return c.get(), nil
}

// networksStay looks once more for a container's networks: from now on nobody removes them, but somebody may have since they
// were checked.
func (e *Engine) networksStay(row *api.Container) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	return e.cfg.Networks.Check(row.Networks, nil)
}

// make prepares what a created container holds and commits it by renaming its directory.
func (e *Engine) make(ctx context.Context, c *container) error {
	if err := os.MkdirAll(c.dir, 0o710); err != nil {
		return err
	}
	if err := c.saveNew(); err != nil {
		return err
	}
	e.cfg.FaultPoint("create.row")
	if err := e.prepare(ctx, c, "create", e.createSteps()); err != nil {
		return err
	}
	if c.get().NetworkMode == NetworkExternal {
		if err := e.prepareUserNS(ctx, c); err != nil {
			return err
		}
		if err := e.prepareNetNS(ctx, c); err != nil {
			return err
		}
	}
	e.cfg.FaultPoint("create.netns")
	if err := os.Rename(c.dir, e.rowDir(c.id)); err != nil {
		return err
	}
	c.dir = e.rowDir(c.id)
	e.cfg.FaultPoint("create.commit")
	return nil
}

// setMaking notes a container that is not whole yet, so that nobody removes its volumes.
func (e *Engine) setMaking(c *container, making bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if making {
		e.making[c.id] = c
	} else {
		delete(e.making, c.id)
	}
}

// abandon undoes a Create that failed.
func (e *Engine) abandon(c *container) {
	e.releaseNetNS(e.ctx, c)
	e.releaseUserNS(e.ctx, c)
	err := e.release(c, e.createSteps())
	e.setMaking(c, false)
	e.cfg.Labels.Release(labelsOf(c.get()))
	if err == nil {
		e.removeAnonymousVolumes(c)
		os.RemoveAll(c.dir)
	}
	e.mu.Lock()
	delete(e.names, c.get().Name)
	e.forgetUsers(c.get())
	e.mu.Unlock()
}

// isID knows a container's ID, which is the name of its cgroup, too.
func isID(s string) bool { return names.Hex(s, 64, 64) }

// newRow checks a request and writes it as a row.
func (e *Engine) newRow(ctx context.Context, req *api.CreateContainerRequest, o CreateOptions, image *Image) (*api.Container, error) {
	cid := o.ID
	if cid == "" {
		cid = id.NewHex()
	} else if !isID(cid) {
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
		User: req.Spec.User, Workdir: spec.Workdir(req.Spec, image.Config),
	}
	if row.User == "" {
		row.User = image.Config.User
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

// checkRequest refuses at creation what could not be started, on any host or on this one.
func (e *Engine) checkRequest(req *api.CreateContainerRequest, row *api.Container, image *Image) error {
	if err := checkRestart(req); err != nil {
		return err
	}
	if err := CheckSettings(req.Spec, row.NetworkMode); err != nil {
		return err
	}
	if _, err := healthCheck(req.Spec, image.Health); err != nil {
		return err
	}
	if _, err := otherRuntime(req.Spec.Runtime); err != nil {
		return errorf(ErrInvalid, "%w", err)
	}
	if _, _, err := devices(req.Spec); err != nil {
		return err
	}
	if err := checkConf(req.Spec.Limits, false); err != nil {
		return err
	}
	if err := checkCPUs(req.Spec.Limits, row.TaskId != ""); err != nil {
		return err
	}
	return addRates(&specs.LinuxResources{}, req.Spec.Limits)
}

func checkModes(s *api.ContainerSpec) error {
	joins := func(mode string) bool { return strings.HasPrefix(mode, "container:") && len(mode) > len("container:") }
	switch m := s.PidMode; {
	case m != "" && m != "host" && !joins(m):
		return errorf(ErrInvalid, "--pid %q is not host or container:ID", m)
	}
	switch m := s.IpcMode; {
	case m != "" && m != "private" && m != "host" && m != "shareable" && !joins(m):
		return errorf(ErrInvalid, "--ipc %q is not private, shareable, host or container:ID", m)
	}
	if m := s.UtsMode; m != "" && m != "host" {
		return errorf(ErrInvalid, "--uts %q is not host", m)
	}
	if m := s.CgroupnsMode; m != "" && m != "private" && m != "host" {
		return errorf(ErrInvalid, "--cgroupns %q is not private or host", m)
	}
	if s.UtsMode == "host" && s.Hostname != "" {
		return errorf(ErrInvalid, "--hostname cannot be combined with --uts host: the container has the host's name")
	}
	return nil
}

// otherRuntime is the program of a runtime that is not our own, "" for ours.
func otherRuntime(name string) (path string, err error) {
	if name == "" || name == "shoal" {
		return "", nil
	}
	return runtime.LookOther(name)
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

// reserveName takes the name asked for, or makes one up.
func (e *Engine) reserveName(row *api.Container) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if row.Name == "" {
		row.Name = e.freeName()
	}
	if owner, taken := e.names[row.Name]; taken {
		return errorf(ErrExists, "the container name %q is in use by container %.12s: remove or rename that one, or choose another name", row.Name, owner)
	}
	if e.containers[row.Id] != nil {
		return errorf(ErrExists, "container %s exists", row.Id)
	}
	if err := e.chooseUsers(row); err != nil {
		return err
	}
	e.names[row.Name] = row.Id
	return nil
}

// logPath is where the shim writes; "" for a driver that keeps nothing.
func logPath(row *api.Container, dir string) string {
	if row.Spec.GetLog().GetDriver() == "none" {
		return ""
	}
	return filepath.Join(dir, row.Id+"-json.log")
}
