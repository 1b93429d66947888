//go:build linux

package engine

import "github.com/shoal-dev/shoal/engine/runtime"

func newRuntime(o OpenConfig) (runtime.Runtime, error) {
	return runtime.New(runtime.Config{RunDir: o.RunDir, ShimPath: o.ShimPath, Logger: o.Logger})
}
