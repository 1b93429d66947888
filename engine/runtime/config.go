//go:build linux

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// configs remembers what one more process in a container is made of: to read it anew takes longer than to start the
// process. The seccomp profile, most of a configuration, is kept compiled only, and once for all containers that share it.
type configs struct {
	mu   sync.Mutex
	byID map[string]config
}

// config is a container's record, and its configuration without its seccomp profile. Nobody changes it.
type config struct {
	created, bundle fs.FileInfo // the files that it was read from
	rec             record
	in              input
}

// get answers only for the very files that it was told of.
func (c *configs) get(id string, created fs.FileInfo) (config, bool) {
	c.mu.Lock()
	k, ok := c.byID[id]
	c.mu.Unlock()
	if !ok || !unchanged(k.created, created) {
		return k, false
	}
	bundle, err := os.Stat(configFile(k.rec.Bundle))
	return k, err == nil && unchanged(k.bundle, bundle)
}

func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (c *configs) put(id string, k config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[string]config{}
	}
	c.byID[id] = k
}

func (c *configs) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

// Spec implements Runtime.
func (s *Shoal) Spec(_ context.Context, id string) (*specs.Spec, error) {
	k, err := s.config(id)
	return k.in.spec, err
}

// config gives what is known of a container, reading it where that is not much.
func (s *Shoal) config(id string) (config, error) {
	created, err := os.Stat(s.place(id).file(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, ErrNotFound
	}
	if err != nil {
		return config{}, fmt.Errorf("read record of container %.12s: %w", id, err)
	}
	if k, ok := s.configs.get(id, created); ok {
		return k, nil
	}
	k := config{created: created}
	if k.rec, err = s.place(id).record(); err != nil {
		return k, err
	}
	if k.bundle, err = os.Stat(configFile(k.rec.Bundle)); err != nil {
		return k, fmt.Errorf("read bundle: %w", err)
	}
	if k.in, err = s.inside(k.rec); err != nil {
		return k, err
	}
	s.configs.put(id, k)
	return k, nil
}

// inside reads what one more process of a container is compiled from.
func (s *Shoal) inside(rec record) (input, error) {
	spec, err := readSpec(rec.Bundle)
	if err != nil {
		return input{}, err
	}
	g, err := s.tree.Group(rec.CgroupPath)
	if err != nil {
		return input{}, err
	}
	in := s.input(rec.CreateOptions, spec, g)
	if l := spec.Linux; l != nil {
		if in.filter, err = s.filter(l.Seccomp); err != nil {
			return in, err
		}
		l.Seccomp = nil
	}
	// A daemon may know hierarchies that the one before it, which made the container, did not.
	in.groups.tasks = slices.DeleteFunc(in.groups.tasks, func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	})
	return in, nil
}

func configFile(bundle string) string { return filepath.Join(bundle, "config.json") }

// readSpec reads a bundle's configuration.
func readSpec(bundle string) (*specs.Spec, error) {
	data, err := os.ReadFile(configFile(bundle))
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	var sp specs.Spec
	if err := json.Unmarshal(data, &sp); err != nil {
		return nil, fmt.Errorf("read %s/config.json: %w", bundle, err)
	}
	withoutTime(&sp)
	return &sp, nil
}

// withoutTime drops a time namespace that makes no difference where the kernel has none (before 5.6).
func withoutTime(sp *specs.Spec) {
	if sp.Linux == nil || len(sp.Linux.TimeOffsets) > 0 {
		return
	}
	if _, err := os.Stat("/proc/self/ns/time"); errors.Is(err, fs.ErrNotExist) {
		sp.Linux.Namespaces = slices.DeleteFunc(sp.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	}
}
