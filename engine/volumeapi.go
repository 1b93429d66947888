//go:build linux

package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/proto/api"
)

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
