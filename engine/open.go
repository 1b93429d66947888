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
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/engine/volume/plugin"
)

// OpenConfig says where an engine lives.
type OpenConfig struct {
	DataDir      string
	RunDir       string
	CgroupParent string // default "shoal"
	Hostname     string
	ShimPath     string // see package shim
	Logger       *slog.Logger
	FaultPoint   func(name string) // see Config
	Plugins      plugin.Dirs       // of volume plugins; default Docker's
	CDISpecDirs  []string          // see package cdi; nil is its default
	SELinux      bool              // containers have labels
}

// Open makes an engine with all its parts below the data and run directories:
//
//	DATA-DIR/content, images.db, snapshots, volumes, networks, containers
//	RUN-DIR/bundles, netns, and what the runtime keeps
func Open(ctx context.Context, o OpenConfig) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Plugins.Sockets == "" {
		o.Plugins = plugin.DefaultDirs()
	}
	if o.CgroupParent == "" {
		o.CgroupParent = "shoal"
	}
	cfg := Config{
		DataDir: o.DataDir, RunDir: o.RunDir, CgroupParent: o.CgroupParent, Hostname: o.Hostname,
		Logger: o.Logger, FaultPoint: o.FaultPoint,
	}
	if o.CDISpecDirs == nil {
		o.CDISpecDirs = cdi.DefaultDirs()
	}
	var err error
	if cfg.CDI, err = cdi.New(o.CDISpecDirs); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if cfg.Labels, err = label.Open(o.SELinux); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.RunDir, 0o711); err != nil { // users of containers go through it
		return nil, fmt.Errorf("open engine: %w", err)
	}
	var e *Engine // the stores below ask it who uses what, once it is there
	blobs, err := content.Open(filepath.Join(o.DataDir, "content"))
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if cfg.Snapshots, err = snapshot.NewOverlay(filepath.Join(o.DataDir, "snapshots")); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if err := cfg.Snapshots.Cleanup(ctx); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if err := cfg.Labels.Layers(filepath.Join(o.DataDir, "snapshots")); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	cfg.Images, err = image.Open(image.Config{
		Dir: o.DataDir, Content: blobs, Snapshots: cfg.Snapshots, Logger: o.Logger,
		InUse:      func(id string) []string { return e.imageUsers(id) },
		Notify:     func(action, id, name string) { e.announceImage(action, id, name) },
		FaultPoint: o.FaultPoint,
	})
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if cfg.Volumes, err = volume.NewStore(ctx, filepath.Join(o.DataDir, "volumes"), volume.Options{
		Logger: o.Logger, Find: plugin.New(o.Plugins).Find, FaultPoint: o.FaultPoint,
	}); err != nil {
		cfg.Images.Close()
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if cfg.Networks, err = network.New(network.Config{Dir: filepath.Join(o.DataDir, "networks"), Logger: o.Logger, FaultPoint: o.FaultPoint}); err != nil {
		cfg.Images.Close()
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if cfg.Runtime, err = newRuntime(o); err == nil {
		e, err = New(ctx, cfg)
	}
	if err != nil {
		cfg.Networks.Close()
		cfg.Images.Close()
		return nil, fmt.Errorf("open engine: %w", err)
	}
	e.closeParts = func() {
		cfg.Networks.Close()
		cfg.Images.Close()
	}
	return e, nil
}
