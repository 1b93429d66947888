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

// config is a container's configuration without its seccomp profile. Nobody changes it.
type config struct {
	file   fs.FileInfo
	spec   *specs.Spec
	filter []byte
}

// get answers only for the very file that it was told of.
func (c *configs) get(id string, file fs.FileInfo) (config, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.byID[id]
	return k, ok && os.SameFile(k.file, file) && k.file.ModTime().Equal(file.ModTime()) && k.file.Size() == file.Size()
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
	rec, err := s.place(id).record()
	if err != nil {
		return nil, err
	}
	k, err := s.config(rec.CreateOptions)
	return k.spec, err
}

func (s *Shoal) config(rec CreateOptions) (config, error) {
	file, err := os.Stat(configFile(rec.Bundle))
	if err != nil {
		return config{}, fmt.Errorf("read bundle: %w", err)
	}
	if k, ok := s.configs.get(rec.ID, file); ok {
		return k, nil
	}
	k := config{file: file}
	if k.spec, err = readSpec(rec.Bundle); err != nil {
		return k, err
	}
	if l := k.spec.Linux; l != nil {
		if k.filter, err = s.filter(l.Seccomp); err != nil {
			return k, err
		}
		l.Seccomp = nil
	}
	s.configs.put(rec.ID, k)
	return k, nil
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
