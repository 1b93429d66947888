//go:build linux

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-dev/shoal/engine/cgroup"
)

// Delete implements Runtime.
func (s *Shoal) Delete(ctx context.Context, id string) error {
	s.configs.forget(id)
	p := s.place(id)
	o, err := p.record()
	if errors.Is(err, ErrNotFound) {
		return os.RemoveAll(p.dir)
	}
	if err != nil {
		return err
	}
	g, err := s.tree.Group(o.CgroupPath)
	if err != nil {
		return err
	}
	if err := s.endShim(p, g); err != nil {
		return err
	}
	if o.Runtime != "" {
		s.deleteOther(ctx, o.CreateOptions)
	}
	remove := g.Delete
	if o.KeepParents {
		remove = g.Remove
	}
	if err := remove(ctx); err != nil {
		return fmt.Errorf("delete container %.12s: %w", id, err)
	}
	s.stoppedHooks(ctx, o)
	return os.RemoveAll(p.dir)
}

// How long a shim may take to write down the end of its container before it is killed.
const shimGrace = 2 * time.Second

// endShim kills the container's processes, and the shim if it does not end by itself.
func (s *Shoal) endShim(p place, g *cgroup.Group) error {
	sup, err := p.supervised()
	if err != nil || !sup.shim.alive() {
		return nil // cgroup's Delete kills what is left
	}
	if err := g.Kill(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if sup.init.pid == 0 || !sup.shim.await(shimGrace) {
		sup.shim.kill()
		sup.shim.await(shimGrace)
	}
	return nil
}
