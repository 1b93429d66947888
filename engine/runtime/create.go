//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/cgroup"
	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Create implements Runtime.
func (s *Shoal) Create(ctx context.Context, o CreateOptions) (State, error) {
	sp, err := readSpec(o.Bundle)
	if err != nil {
		return State{}, fmt.Errorf("create container: %w", err)
	}
	p := s.place(o.ID)
	rec := record{CreateOptions: o, Annotations: sp.Annotations, Layout: wire.Layout}
	if o.Runtime == "" { // another runtime runs them itself
		rec.Hooks = sp.Hooks
	}
	if err := p.reserve(rec); err != nil {
		return State{}, fmt.Errorf("create container: %w", err)
	}
	pid, err := s.make(ctx, p, rec, sp)
	if err != nil {
		return State{}, errors.Join(fmt.Errorf("create container: %w", err), s.Delete(context.WithoutCancel(ctx), o.ID))
	}
	return State{ID: o.ID, Status: Created, Pid: pid}, nil
}

// make makes the control group, and has a shim, or another runtime below one, make the rest.
func (s *Shoal) make(ctx context.Context, p place, o record, sp *specs.Spec) (pid int, err error) {
	g, err := s.makeGroup(o.CgroupPath, sp)
	if err != nil {
		return 0, err
	}
	if sp.Process != nil {
		warnMissingCaps(s.log, o.ID, sp.Process.Capabilities, s.caps)
	}
	in := s.input(o.CreateOptions, sp, g)
	if sp.Linux != nil {
		if in.filter, err = s.filter(sp.Linux.Seccomp); err != nil {
			return 0, err
		}
	}
	if o.Runtime != "" {
		if err := s.withoutConf(o.CreateOptions, sp); err != nil {
			return 0, err
		}
		return s.makeOther(ctx, p, in)
	}
	return s.makeOwn(ctx, p, o, in)
}

func (s *Shoal) makeGroup(path string, sp *specs.Spec) (*cgroup.Group, error) {
	g, err := s.tree.Group(path)
	if err != nil {
		return nil, err
	}
	if err := g.Create(); err != nil {
		return nil, err
	}
	return g, g.Apply(limits(sp))
}

func (s *Shoal) makeOwn(ctx context.Context, p place, o record, in input) (pid int, err error) {
	blob, err := compile(in)
	if err != nil {
		return 0, err
	}
	conn, err := s.launch(p)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r, err := s.makeWithHooks(ctx, conn, o, in, blob)
	if errors.Is(err, shim.ErrGone) {
		return 0, errors.New("the shim ended before the container was made")
	}
	if err != nil {
		return 0, err
	}
	pid, warnings, err := created(r)
	s.warn(o.ID, warnings)
	return pid, err
}

// created reads the shim's word that the container is made: the number of its first process, and warnings.
func created(r shim.Reply) (pid int, warnings []byte, err error) {
	if r.Op != wire.OpCreated || len(r.Payload) < 4 {
		return 0, nil, fmt.Errorf("the shim answers create with %d", r.Op)
	}
	return int(binary.NativeEndian.Uint32(r.Payload)), r.Payload[4:], nil
}
