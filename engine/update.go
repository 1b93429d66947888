//go:build linux

package engine

import (
	"context"
	"errors"
	"maps"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// Update changes limits and restart policy of a container; one that runs feels it at once. What the request leaves out
// stays as it is, -1 lifts a limit, an empty value a file of the control group.
func (e *Engine) Update(ctx context.Context, r *api.UpdateContainerRequest) error {
	c, err := e.find(r.GetRef())
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	row := c.get()
	if c.isRemoved() || row.State == api.ContainerState_DEAD {
		return errorf(ErrPrecondition, "container %s is being removed and cannot be updated", row.Name)
	}
	if r.Restart != nil {
		if err := checkRestart(&api.CreateContainerRequest{Restart: r.Restart, AutoRemove: row.AutoRemove}); err != nil {
			return err
		}
	}
	if err := e.update(ctx, c, r); err != nil {
		return err
	}
	e.emit(c, "update", nil)
	return nil
}

// update changes kernel and row. A daemon that dies in between is followed by one that does it once more.
func (e *Engine) update(ctx context.Context, c *container, r *api.UpdateContainerRequest) (err error) {
	asked, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	if err := e.begin(c, unfinished{Update: asked}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.end(c)) }()
	limits, err := e.updateLimits(ctx, c.get(), r.Limits)
	if err != nil {
		return err
	}
	e.cfg.FaultPoint("update.kernel")
	return e.amend(c, func(row *api.Container) {
		row.Spec.Limits = limits
		if r.Restart != nil {
			row.Restart = r.Restart
		}
	})
}

// updateLimits tells the kernel first: what it refuses is not written down.
func (e *Engine) updateLimits(ctx context.Context, row *api.Container, change *api.ContainerLimits) (*api.ContainerLimits, error) {
	if change == nil || proto.Equal(change, &api.ContainerLimits{}) {
		return row.Spec.GetLimits(), nil
	}
	if err := checkConf(change, true); err != nil {
		return nil, err
	}
	if err := checkCPUs(change, row.TaskId != ""); err != nil {
		return nil, err
	}
	limits, lifted := mergeLimits(row.Spec.GetLimits(), change)
	res, err := spec.Resources(limits)
	if err != nil {
		return nil, errorf(ErrInvalid, "%w", err)
	}
	if !active(row.State) {
		return limits, nil
	}
	lift(res, limits, lifted)
	err = e.cfg.Runtime.Update(ctx, row.Id, res)
	if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotRunning) {
		return limits, nil // it has just ended
	}
	if err != nil {
		return nil, errorf(ErrPrecondition, "update container %s: %w", row.Name, err)
	}
	return limits, nil
}

// mergeLimits lays the fields that change holds over the old ones. Limits that it lifts are none in the result.
func mergeLimits(old, change *api.ContainerLimits) (merged, lifted *api.ContainerLimits) {
	merged, lifted = proto.CloneOf(old), &api.ContainerLimits{}
	if merged == nil {
		merged = &api.ContainerLimits{}
	}
	conf := merged.Conf
	change.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		merged.ProtoReflect().Set(f, v)
		return true
	})
	if len(change.Conf) > 0 {
		merged.Conf, lifted.Conf = mergeConf(conf, change.Conf)
	}
	// CPUs are limited in one of two ways, the newer one counts.
	switch {
	case change.NanoCpus != 0:
		merged.CpuQuota, merged.CpuPeriod = change.CpuQuota, change.CpuPeriod
	case change.CpuQuota != 0 || change.CpuPeriod != 0:
		merged.NanoCpus = 0
	}
	takeLifted(merged, lifted)
	return merged, lifted
}

// mergeConf is mergeLimits for files of the control group, each for itself. An empty value lifts.
func mergeConf(old, change map[string]string) (merged, lifted map[string]string) {
	merged, lifted = map[string]string{}, map[string]string{}
	maps.Copy(merged, old)
	maps.Copy(merged, change)
	maps.DeleteFunc(merged, func(name, value string) bool {
		if value == "" {
			lifted[name] = ""
		}
		return value == ""
	})
	return merged, lifted
}

// takeLifted moves limits that are below zero, which say that there shall be none.
func takeLifted(merged, lifted *api.ContainerLimits) {
	for _, l := range []struct{ from, to *int64 }{
		{&merged.MemoryBytes, &lifted.MemoryBytes}, {&merged.MemoryReservation, &lifted.MemoryReservation},
		{&merged.Pids, &lifted.Pids}, {&merged.CpuQuota, &lifted.CpuQuota}, {&merged.NanoCpus, &lifted.NanoCpus},
	} {
		if *l.from < 0 {
			*l.from, *l.to = 0, -1
		}
	}
	if lifted.MemoryBytes != 0 {
		merged.MemorySwap = 0
	}
}

// lift says no limit where a running container has to be told so.
func lift(r *specs.LinuxResources, limits, lifted *api.ContainerLimits) {
	for name := range lifted.Conf {
		if spec.SameLimit(name, limits) != "" {
			continue // it is that limit's now
		}
		if r.Unified == nil {
			r.Unified = map[string]string{}
		}
		r.Unified[name] = ""
	}
	none := func() *int64 { n := int64(-1); return &n }
	if lifted.MemoryBytes != 0 || lifted.MemoryReservation != 0 {
		if r.Memory == nil {
			r.Memory = &specs.LinuxMemory{}
		}
	}
	if lifted.MemoryBytes != 0 {
		r.Memory.Limit, r.Memory.Swap = none(), none()
	}
	if lifted.MemoryReservation != 0 {
		r.Memory.Reservation = none()
	}
	if lifted.Pids != 0 {
		r.Pids = &specs.LinuxPids{Limit: none()}
	}
	if lifted.CpuQuota != 0 || lifted.NanoCpus != 0 {
		if r.CPU == nil {
			r.CPU = &specs.LinuxCPU{}
		}
		r.CPU.Quota = none()
	}
}
