//go:build linux

package engine

import (
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/seccomp"
)

// profileCache keeps the default profile by capabilities: it depends on nothing else and takes a while to make.
type profileCache struct{ byCaps sync.Map }

// get returns a profile that is shared and not to be changed.
func (p *profileCache) get(caps []string) (*specs.LinuxSeccomp, error) {
	key := strings.Join(caps, " ")
	if have, ok := p.byCaps.Load(key); ok {
		return have.(*specs.LinuxSeccomp), nil
	}
	made, err := seccomp.Default(caps)
	if err == nil {
		p.byCaps.Store(key, made)
	}
	return made, err
}
