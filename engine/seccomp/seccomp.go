//go:build linux

// Package seccomp compiles OCI seccomp profiles to the kernel's filter programs.
//
// Compile does the work, Cache remembers its results by the profile's hash, Default
// is Docker's default profile for a set of capabilities. The package does not load
// filters; a container's first process does that itself.
package seccomp

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Default is Docker's default profile as it applies to a process with these
// capabilities ("CAP_NET_ADMIN", ...) on this kernel and architecture.
func Default(caps []string) (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
	})
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	return profile, nil
}

// Load reads a profile in Docker's JSON format, as Default does with the built-in one.
func Load(profile string, caps []string) (*specs.LinuxSeccomp, error) {
	var rules seccomp.Seccomp
	if json.Unmarshal([]byte(profile), &rules) == nil && slices.Contains(rules.Syscalls, nil) { // the library would panic
		return nil, errors.New("seccomp profile: a rule of syscalls is null")
	}
	p, err := seccomp.LoadProfile(profile, &specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
	})
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	if p == nil { // to the library this means no filter
		return nil, errors.New("seccomp profile: it has neither defaultAction nor syscalls: say unconfined if no filter is meant")
	}
	return p, nil
}

// Cache holds compiled filters by the hash of their profile's JSON text. The zero
// value is ready; it may be used concurrently. It keeps at most maxCached filters.
type Cache struct {
	mu      sync.Mutex
	filters map[[sha256.Size]byte]*Filter
}

const maxCached = 256

// Compile is like the function Compile for a profile as it stands in a config.json.
func (c *Cache) Compile(profile []byte) (*Filter, error) {
	key := sha256.Sum256(profile)
	c.mu.Lock()
	f := c.filters[key]
	c.mu.Unlock()
	if f != nil {
		return f, nil
	}
	var p specs.LinuxSeccomp
	dec := json.NewDecoder(strings.NewReader(string(profile)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("read seccomp profile: %w", err)
	}
	f, err := Compile(&p)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filters == nil || len(c.filters) >= maxCached {
		c.filters = map[[sha256.Size]byte]*Filter{}
	}
	c.filters[key] = f
	return f, nil
}
