//go:build linux

package engine

import (
	"errors"

	"github.com/shoal-dev/shoal/engine/runtime"
)

func newRuntime(OpenConfig) (runtime.Runtime, error) {
	return nil, errors.New("this build has no runtime yet")
}
