//go:build linux

// Package plugin speaks Docker's volume plugin protocol: JSON over HTTP to a program that keeps volumes.
//
// Plugins finds such programs by name, and gives each as a volume.Driver. They are started by somebody else; managed
// plugins, which Docker installs from a registry, are not known here.
package plugin

import (
	"context"
	"fmt"
	"sync"

	"github.com/shoal-dev/shoal/engine/volume"
)

// Dirs are where plugins are looked for, in this order.
type Dirs struct {
	Sockets string   // NAME.sock or NAME/NAME.sock
	Specs   []string // NAME.spec, which holds an address, or NAME.json
}

// DefaultDirs are Docker's.
func DefaultDirs() Dirs {
	return Dirs{Sockets: "/run/docker/plugins", Specs: []string{"/etc/docker/plugins", "/usr/lib/docker/plugins"}}
}

// Plugins finds the plugins of a node.
type Plugins struct {
	dirs Dirs
	mu   sync.Mutex
	met  map[string]*client // by name: those that have said that they keep volumes
}

// New looks in dirs whenever a plugin is asked for.
func New(dirs Dirs) *Plugins { return &Plugins{dirs: dirs, met: map[string]*client{}} }

// Find is a volume.Finder.
func (p *Plugins) Find(ctx context.Context, name string) (volume.Driver, error) {
	at, err := p.dirs.locate(name)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	c := p.met[name]
	p.mu.Unlock()
	if c != nil && c.at == at {
		return &driver{c}, nil
	}
	if c, err = newClient(name, at); err != nil {
		return nil, err
	}
	if err := c.activate(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.met[name] = c
	p.mu.Unlock()
	return &driver{c}, nil
}

// activate is the handshake: what do you do?
func (c *client) activate(ctx context.Context) error {
	var does struct{ Implements []string }
	if err := c.call(ctx, "/Plugin.Activate", nil, &does); err != nil {
		return err
	}
	for _, what := range does.Implements {
		if what == "VolumeDriver" {
			return nil
		}
	}
	return fmt.Errorf("%w: plugin %s keeps no volumes: it implements %v", volume.ErrNoDriver, c.name, does.Implements)
}
