//go:build linux

package engine

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/proto/api"
)

// asked is the mount that a mount point came from.
func asked(p *api.MountPoint) *api.Mount {
	if p.Mount == nil {
		return &api.Mount{}
	}
	return p.Mount
}

// volumesOf are the names of the volumes in a row, each once.
func volumesOf(row *api.Container) []string {
	names := map[string]bool{}
	for _, p := range row.Mounts {
		if p.Type == "volume" {
			names[p.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// createVolumes makes the volumes that are not there yet.
func (e *Engine) createVolumes(ctx context.Context, c *container) error {
	vols := map[string]*api.Volume{}
	for _, p := range c.get().Mounts {
		if p.Type != "volume" {
			continue
		}
		vol, err := e.createVolume(ctx, p)
		if err != nil {
			return err
		}
		vols[p.Name] = vol
	}
	if len(vols) == 0 {
		return nil
	}
	return c.update(func(row *api.Container) {
		for _, p := range row.Mounts {
			if p.Type == "volume" {
				p.Source, p.Driver = vols[p.Name].Mountpoint, vols[p.Name].Driver
			}
		}
	})
}

func (e *Engine) createVolume(ctx context.Context, p *api.MountPoint) (*api.Volume, error) {
	m := asked(p)
	return e.CreateVolume(ctx, &api.Volume{
		Name: p.Name, Driver: m.Driver, Options: m.DriverOpts, Labels: m.Labels, Anonymous: isAnonymous(p),
	})
}

// setSources writes down where volumes are.
func (c *container) setSources(sources map[string]string) error {
	differs := func(p *api.MountPoint) bool {
		source, ok := sources[p.Name]
		return ok && p.Type == "volume" && p.Source != source
	}
	if !slices.ContainsFunc(c.get().Mounts, differs) {
		return nil
	}
	return c.update(func(row *api.Container) {
		for _, p := range row.Mounts {
			if differs(p) {
				p.Source = sources[p.Name]
			}
		}
	})
}

// mountVolumes makes the files of the container's volumes available while it runs.
func (e *Engine) mountVolumes(ctx context.Context, c *container) error {
	sources := map[string]string{}
	for _, p := range c.get().Mounts {
		if p.Type != "volume" || sources[p.Name] != "" {
			continue
		}
		source, err := e.cfg.Volumes.Mount(ctx, p.Name, c.id)
		if errors.Is(err, volume.ErrNotFound) { // somebody deleted it behind our back
			if _, err = e.createVolume(ctx, p); err == nil {
				source, err = e.cfg.Volumes.Mount(ctx, p.Name, c.id)
			}
		}
		if err != nil {
			return err
		}
		sources[p.Name] = source
	}
	return c.setSources(sources)
}

// unmountVolumes never fails: a driver that does not answer must not keep a container from ending. Reconcile asks it again.
func (e *Engine) unmountVolumes(ctx context.Context, c *container) error {
	for _, name := range volumesOf(c.get()) {
		if err := e.cfg.Volumes.Unmount(ctx, name, c.id); err != nil {
			e.log.Warn("volume was not unmounted, will try again", "container", c.id, "error", err)
		}
	}
	return nil
}

// isAnonymous says that nobody gave the volume a name.
func isAnonymous(p *api.MountPoint) bool { return p.Type == "volume" && asked(p).Source == "" }

// removeAnonymousVolumes deletes those that nobody named, unless another container uses them too.
func (e *Engine) removeAnonymousVolumes(c *container) error {
	for _, p := range c.get().Mounts {
		if !isAnonymous(p) {
			continue
		}
		err := e.RemoveVolume(e.ctx, p.Name, true)
		if err != nil && !errors.Is(err, volume.ErrInUse) {
			return err
		}
	}
	return nil
}
