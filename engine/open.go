//go:build linux

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/shoal-dev/shoal/engine/cdi"
	"github.com/shoal-dev/shoal/engine/content"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/label"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/resolver"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/engine/volume/plugin"
)

// Config says where an engine lives.
type Config struct {
	DataDir      string // content, images.db, snapshots, volumes, networks, containers: what a reboot must not lose
	RunDir       string // bundles, netns, and what the runtime keeps: what it may
	CgroupParent string // relative to the root of every hierarchy; default "shoal"
	Hostname     string
	ShimPath     string       // see package shim
	Logger       *slog.Logger // default slog.Default()
	Plugins      plugin.Dirs  // of volume plugins; default Docker's
	CDISpecDirs  []string     // see package cdi; nil is its default
	SELinux      bool         // containers have labels
	// FaultPoint, if set, is called at every point in a container's life where a crash is tested.
	FaultPoint func(name string)
}

func (c *Config) setDefaults() {
	if c.CgroupParent == "" {
		c.CgroupParent = "shoal"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Plugins.Sockets == "" {
		c.Plugins = plugin.DefaultDirs()
	}
	if c.CDISpecDirs == nil {
		c.CDISpecDirs = cdi.DefaultDirs()
	}
	if c.FaultPoint == nil {
		c.FaultPoint = func(string) {}
	}
}

// Open opens the engine: it undoes what a crash left half made, finds the containers that still run and watches
// them. Goroutines of the engine end when ctx ends or with Close. Errors say which part did not open.
func Open(ctx context.Context, c Config) (*Engine, error) {
	c.setDefaults()
	e := &Engine{
		cfg: config{Config: c}, log: c.Logger, resolver: resolver.New(c.Logger),
		containers: map[string]*container{}, names: map[string]string{}, making: map[string]*container{}, users: map[uint32]string{},
	}
	e.ctx, e.cancel = context.WithCancel(ctx)
	for _, open := range []func(context.Context) error{
		e.openHost, e.makeDirs, e.openSnapshots, e.openImages, e.openVolumes, e.openNetworks, e.openRuntime, e.recover,
	} {
		if err := open(e.ctx); err != nil {
			e.Close()
			return nil, err
		}
	}
	return e, nil
}

// openHost learns what this machine and this daemon can give to containers.
func (e *Engine) openHost(context.Context) (err error) {
	if e.cfg.CDI, err = cdi.New(e.cfg.CDISpecDirs); err != nil {
		return fmt.Errorf("read device specifications: %w", err)
	}
	if e.cfg.Labels, err = label.Open(e.cfg.SELinux); err != nil {
		return err
	}
	e.bounding, err = boundingCaps()
	return err
}

func (e *Engine) makeDirs(context.Context) error {
	if err := os.MkdirAll(e.cfg.RunDir, 0o711); err != nil { // users of containers go through it
		return fmt.Errorf("create run directory: %w", err)
	}
	for _, d := range []struct {
		path string
		perm os.FileMode
	}{
		{filepath.Join(e.cfg.RunDir, "bundles"), 0o711}, // and through it, each to its own bundle
		{filepath.Join(e.cfg.RunDir, "netns"), 0o710},
		{filepath.Join(e.cfg.RunDir, "userns"), 0o710},
		{filepath.Join(e.cfg.DataDir, rowDirectory), 0o710},
	} {
		err := os.MkdirAll(d.path, d.perm)
		if err == nil {
			err = os.Chmod(d.path, d.perm) // an older daemon has made it for itself alone
		}
		if err != nil {
			return fmt.Errorf("create engine directory: %w", err)
		}
	}
	return nil
}

func (e *Engine) openSnapshots(ctx context.Context) error {
	dir := filepath.Join(e.cfg.DataDir, "snapshots")
	snapshots, err := snapshot.NewOverlay(dir)
	if err != nil {
		return err
	}
	e.cfg.Snapshots = snapshots
	if err := snapshots.Cleanup(ctx); err != nil {
		return fmt.Errorf("clean up snapshots: %w", err)
	}
	return e.cfg.Labels.Layers(dir)
}

func (e *Engine) openImages(context.Context) error {
	blobs, err := content.Open(filepath.Join(e.cfg.DataDir, "content"))
	if err != nil {
		return err
	}
	e.cfg.Images, err = image.Open(image.Config{
		Dir: e.cfg.DataDir, Content: blobs, Snapshots: e.cfg.Snapshots, Logger: e.log,
		InUse: e.imageUsers, Notify: e.announceImage, FaultPoint: e.cfg.FaultPoint,
	})
	if err == nil {
		e.closers = append(e.closers, func() { e.cfg.Images.Close() })
	}
	return err
}

func (e *Engine) openVolumes(ctx context.Context) (err error) {
	e.cfg.Volumes, err = volume.NewStore(ctx, filepath.Join(e.cfg.DataDir, "volumes"), volume.Options{
		Logger: e.log, Find: plugin.New(e.cfg.Plugins).Find, FaultPoint: e.cfg.FaultPoint,
	})
	return err
}

func (e *Engine) openNetworks(context.Context) (err error) {
	e.cfg.Networks, err = network.New(network.Config{
		Dir: filepath.Join(e.cfg.DataDir, "networks"), Logger: e.log, FaultPoint: e.cfg.FaultPoint,
	})
	if err == nil {
		e.closers = append(e.closers, e.cfg.Networks.Close)
	}
	return err
}

func (e *Engine) openRuntime(context.Context) (err error) {
	e.cfg.Runtime, err = runtime.New(runtime.Config{RunDir: e.cfg.RunDir, ShimPath: e.cfg.ShimPath, Logger: e.log})
	return err
}
