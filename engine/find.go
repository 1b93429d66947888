//go:build linux

package engine

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// find resolves an ID, a name or a unique prefix of an ID.
func (e *Engine) find(ref string) (*container, error) {
	ref = strings.TrimPrefix(ref, "/")
	if ref == "" {
		return nil, errorf(ErrInvalid, "no container named: give a name or an ID")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.containers[ref]; c != nil {
		return c, nil
	}
	if c := e.containers[e.names[ref]]; c != nil {
		return c, nil
	}
	var found *container
	for id, c := range e.containers {
		if !strings.HasPrefix(id, ref) {
			continue
		}
		if found != nil {
			return nil, errorf(ErrInvalid, "%q is the beginning of more than one container's ID: give more digits", ref)
		}
		found = c
	}
	if found == nil {
		return nil, errorf(ErrNotFound, "no such container: %s", ref)
	}
	return found, nil
}

// withMaking returns every container, oldest first, those that are being made included: what they use is in use.
func (e *Engine) withMaking() []*container { return e.list(e.making) }

// all returns every container, oldest first.
func (e *Engine) all() []*container { return e.list(nil) }

func (e *Engine) list(also map[string]*container) []*container {
	e.mu.Lock()
	out := slices.AppendSeq(slices.Collect(maps.Values(e.containers)), maps.Values(also))
	e.mu.Unlock()
	slices.SortFunc(out, func(a, b *container) int {
		if d := a.get().CreatedAt.AsTime().Compare(b.get().CreatedAt.AsTime()); d != 0 {
			return d
		}
		return cmp.Compare(a.id, b.id)
	})
	return out
}

// List returns the containers, newest first; without All only those that run. Size also counts what they wrote.
// The rows belong to the engine: clone before changing.
func (e *Engine) List(ctx context.Context, r *api.ListContainersRequest) ([]*api.Container, error) {
	var out []*api.Container
	for _, c := range e.all() {
		row := c.get()
		if !r.GetAll() && !active(row.State) && row.State != api.ContainerState_RESTARTING {
			continue
		}
		if r.GetSize() {
			row = e.withSize(ctx, row)
		}
		out = append(out, row)
	}
	slices.Reverse(out)
	return out, nil
}

// Inspect returns one container. The row belongs to the engine: clone before changing.
func (e *Engine) Inspect(_ context.Context, ref string) (*api.Container, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	return c.get(), nil
}

func (e *Engine) withSize(ctx context.Context, row *api.Container) *api.Container {
	dir, err := e.cfg.Snapshots.UpperDir(ctx, row.Id)
	if err != nil {
		return row
	}
	c := proto.CloneOf(row)
	c.SizeRw = diskUsage(dir)
	c.SizeRootFs = c.SizeRw
	if img, err := e.cfg.Images.Get(ctx, row.ImageId); err == nil { // it may have been removed by force
		c.SizeRootFs += img.Size
	}
	return c
}

// diskUsage adds up the files below dir, hard links once. What vanishes meanwhile does not count.
func diskUsage(dir string) int64 {
	type inode struct{ dev, ino uint64 }
	seen, total := map[inode]bool{}, int64(0)
	filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			key := inode{st.Dev, st.Ino}
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		total += info.Size()
		return nil
	})
	return total
}
