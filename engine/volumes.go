//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

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

// VolumeUsers names the containers that have a volume, running or not, those that are being made included.
func (e *Engine) VolumeUsers(name string) []string {
	var users []string
	for _, c := range e.withMaking() {
		c.mu.Lock()
		row, leaving := c.row, c.leaving
		c.mu.Unlock()
		if !leaving && slices.Contains(volumesOf(row), name) {
			users = append(users, row.Name)
		}
	}
	return users
}

// CreateVolume makes a volume; one of this name that is there already is the answer.
func (e *Engine) CreateVolume(ctx context.Context, v *api.Volume) (*api.Volume, error) {
	vol, created, err := e.cfg.Volumes.Create(ctx, v)
	if created {
		e.announce(aboutVolume, "create", vol.Name, map[string]string{"driver": vol.Driver})
	}
	return vol, err
}

// RemoveVolume deletes a volume that no container uses. With force one that is not there is no error.
func (e *Engine) RemoveVolume(ctx context.Context, name string, force bool) error {
	vol, err := e.cfg.Volumes.Get(ctx, name)
	if err == nil {
		err = e.cfg.Volumes.Remove(ctx, name, force, func() []string { return e.VolumeUsers(name) })
	}
	if force && errors.Is(err, volume.ErrNotFound) {
		return nil
	}
	if err == nil {
		e.announce(aboutVolume, "destroy", name, map[string]string{"driver": vol.Driver})
	}
	return err
}

// volumeSize is what a volume takes of this node's disk. What is mounted from elsewhere takes nothing, and asking its server
// may take for ever.
func volumeSize(v *api.Volume) int64 {
	if v.Driver != volume.DriverLocal || len(v.Options) > 0 {
		return 0
	}
	return diskUsage(v.Mountpoint)
}

// fillUnstarted fills the volumes of a container that never ran, as its start would.
func (e *Engine) fillUnstarted(ctx context.Context, c *container) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.get().State != api.ContainerState_CREATED || len(volumesOf(c.get())) == 0 {
		return nil
	}
	err := e.mountVolumes(ctx, c)
	if err == nil {
		err = os.MkdirAll(e.rootfs(c.id), 0o710)
	}
	if err == nil {
		err = e.fillVolumes(ctx, c)
	}
	e.cfg.FaultPoint("inherit.filled")
	return errors.Join(err, e.releaseRootfs(ctx, c), e.unmountVolumes(ctx, c))
}

// copyUp fills volumes that are empty with what the image has at their mount points.
func (e *Engine) copyUp(ctx context.Context, c *container) error {
	for _, p := range c.get().Mounts {
		m := asked(p)
		if p.Type != "volume" || m.NoCopy || m.Subpath != "" || !emptyDir(p.Source) {
			continue
		}
		from, err := inRoot(e.rootfs(c.id), p.Destination)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find %s in the image: %w", p.Destination, err)
		}
		if st, err := from.Stat(); err != nil || !st.IsDir() {
			from.Close()
			continue
		}
		err = e.cfg.Volumes.CopyUp(ctx, p.Name, fmt.Sprintf("/proc/self/fd/%d", from.Fd()))
		from.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func emptyDir(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}
