//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Apply sets limits. What is nil in r stays as it is; what this machine cannot
// limit is an error, never ignored.
func (g *Group) Apply(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	if err := refuse(r); err != nil {
		return err
	}
	w := &writer{group: g}
	if g.Unified() {
		g.applyV2(w, r)
	} else {
		g.applyV1(w, r)
	}
	applyAnywhere(w, r)
	if w.err != nil {
		return fmt.Errorf("set limits: %w", w.err)
	}
	return nil
}

func refuse(r *specs.LinuxResources) error {
	switch {
	//lint:ignore SA1019 what is deprecated is refused
	case r.Memory != nil && (r.Memory.Kernel != nil || r.Memory.KernelTCP != nil):
		return fmt.Errorf("resources.memory.kernel is not supported: the kernel has no such limit any more")
	}
	return refuseBlockIO(r.BlockIO)
}

func refuseBlockIO(b *specs.LinuxBlockIO) error {
	if b == nil {
		return nil
	}
	if b.LeafWeight != nil {
		return fmt.Errorf("resources.blockIO.leafWeight is not supported")
	}
	weights := []*uint16{b.Weight}
	for _, d := range b.WeightDevice {
		if d.LeafWeight != nil {
			return fmt.Errorf("resources.blockIO.weightDevice.leafWeight is not supported")
		}
		weights = append(weights, d.Weight)
	}
	for _, w := range weights {
		if w != nil && *w != 0 && (*w < 10 || *w > 1000) {
			return fmt.Errorf("resources.blockIO: weight %d is not between 10 and 1000", *w)
		}
	}
	return nil
}

// writer writes files and remembers the first error.
type writer struct {
	group *Group
	err   error
}

// v1 writes a file of a version 1 controller.
func (w *writer) v1(controller, name, value string) {
	if w.err != nil {
		return
	}
	dir := w.group.dir(controller)
	if dir == "" {
		w.err = fmt.Errorf("%s: this machine has no %s controller", name, controller)
		return
	}
	w.err = write(dir, name, value)
}

func (w *writer) v2(name, value string) {
	if w.err == nil {
		w.err = write(w.group.V2Dir(), name, value)
	}
}

func text[T ~int64 | ~uint64 | ~uint16](v T) string { return fmt.Sprint(v) }

// noSwap tells that there is nothing to limit: the kernel does not count swap and this machine has none.
func (w *writer) noSwap(dir, name string) bool {
	if w.err != nil || dir == "" {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if swaps, err := os.ReadFile("/proc/swaps"); err == nil && strings.Count(string(swaps), "\n") > 1 {
		w.err = fmt.Errorf("resources.memory.swap: this kernel does not count swap: boot it with swapaccount=1 or turn swap off")
		return false
	}
	return true
}

// orMax is the form of a limit where zero and less mean none.
func orMax(v int64) string {
	if v <= 0 {
		return "max"
	}
	return text(v)
}

type throttle struct {
	v1, v2 string
	list   []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) []throttle {
	return []throttle{
		{"blkio.throttle.read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"blkio.throttle.write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"blkio.throttle.read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"blkio.throttle.write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	}
}
