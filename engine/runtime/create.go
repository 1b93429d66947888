//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

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
		return State{}, errors.Join(fmt.Errorf("create container: %w", err), s.Delete(context.WithoutCancel(ctx), o.ID, true))
	}
	return State{ID: o.ID, Status: Created, Pid: pid}, nil
}

func (s *Shoal) make(ctx context.Context, p place, o record, sp *specs.Spec) (pid int, err error) {
	g, err := s.tree.Group(o.CgroupPath)
	if err != nil {
		return 0, err
	}
	if err := g.Create(); err != nil {
		return 0, err
	}
	if err := g.Apply(limits(sp)); err != nil {
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
	switch {
	case errors.Is(err, shim.ErrGone):
		return 0, errors.New("the shim ended before the container was made")
	case err != nil:
		return 0, err
	case r.Op != wire.OpCreated || len(r.Payload) < 4:
		return 0, fmt.Errorf("the shim answers create with %d", r.Op)
	}
	s.warn(o.ID, r.Payload[4:])
	return int(binary.NativeEndian.Uint32(r.Payload)), nil
}
