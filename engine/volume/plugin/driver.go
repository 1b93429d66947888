//go:build linux

package plugin

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/shoal-dev/shoal/engine/volume"
)

// driver is a plugin as a volume.Driver. The protocol does not say what a plugin does when it is asked for something
// twice; where it refuses, the driver looks whether that is because it was done already.
type driver struct{ c *client }

var _ volume.Driver = (*driver)(nil)

type request struct {
	Name string
	ID   string            `json:",omitempty"`
	Opts map[string]string `json:",omitempty"`
}

type found struct{ Name, Mountpoint string }

func (d *driver) get(ctx context.Context, name string) (*found, error) {
	var a struct{ Volume *found }
	err := d.c.call(ctx, "/VolumeDriver.Get", request{Name: name}, &a)
	return a.Volume, err
}

// Create implements volume.Driver. A volume that the plugin has already, made by another node or another tool, is taken.
func (d *driver) Create(ctx context.Context, v volume.Volume) error {
	there, err := d.get(ctx, v.Name)
	if err == nil && there != nil || err != nil && !refused(err) {
		return err
	}
	return d.c.call(ctx, "/VolumeDriver.Create", request{Name: v.Name, Opts: v.Options}, nil)
}

// Remove implements volume.Driver.
func (d *driver) Remove(ctx context.Context, v volume.Volume) error {
	err := d.c.call(ctx, "/VolumeDriver.Remove", request{Name: v.Name}, nil)
	if refused(err) && d.gone(ctx, v.Name) {
		return nil
	}
	return err
}

// gone asks for all volumes: an error of Get could mean anything.
func (d *driver) gone(ctx context.Context, name string) bool {
	var a struct{ Volumes []found }
	err := d.c.call(ctx, "/VolumeDriver.List", struct{}{}, &a)
	return err == nil && !slices.ContainsFunc(a.Volumes, func(f found) bool { return f.Name == name })
}

// Path implements volume.Driver.
func (d *driver) Path(ctx context.Context, v volume.Volume) (string, error) {
	var a found
	err := d.c.call(ctx, "/VolumeDriver.Path", request{Name: v.Name}, &a)
	return a.Mountpoint, err
}

// Mount implements volume.Driver.
func (d *driver) Mount(ctx context.Context, v volume.Volume) (string, error) {
	var a found
	if err := d.c.call(ctx, "/VolumeDriver.Mount", request{Name: v.Name, ID: v.MountID}, &a); err != nil {
		return "", err
	}
	if !filepath.IsAbs(a.Mountpoint) {
		return "", fmt.Errorf("volume plugin %s: it mounted %s at %q, which is not an absolute path", d.c.name, v.Name, a.Mountpoint)
	}
	return filepath.Clean(a.Mountpoint), nil
}

// Unmount implements volume.Driver.
func (d *driver) Unmount(ctx context.Context, v volume.Volume) error {
	err := d.c.call(ctx, "/VolumeDriver.Unmount", request{Name: v.Name, ID: v.MountID}, nil)
	if !refused(err) {
		return err
	}
	if there, e := d.get(ctx, v.Name); e == nil && there != nil && there.Mountpoint == "" || d.gone(ctx, v.Name) {
		return nil
	}
	return err
}

// Mounted implements volume.Driver. The protocol has no question for it: a plugin may give a mount point at any time.
func (d *driver) Mounted(context.Context, volume.Volume) (bool, error) { return true, nil }

// Scope implements volume.Driver. Old plugins do not know the question.
func (d *driver) Scope(ctx context.Context) (string, error) {
	var a struct{ Capabilities struct{ Scope string } }
	err := d.c.call(ctx, "/VolumeDriver.Capabilities", struct{}{}, &a)
	if err != nil && !refused(err) {
		return "", err
	}
	if a.Capabilities.Scope == "global" {
		return "global", nil
	}
	return "local", nil
}
