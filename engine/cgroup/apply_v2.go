//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func (g *Group) applyV2(w *writer, r *specs.LinuxResources) {
	g.cpuV2(w, r.CPU)
	g.memoryV2(w, r.Memory)
	if r.Pids != nil && r.Pids.Limit != nil {
		w.v2("pids.max", orMax(*r.Pids.Limit))
	}
	blkioV2(w, r.BlockIO)
	if r.Devices != nil && w.err == nil {
		w.err = attachDevices(g.V2Dir(), r.Devices)
	}
}

// weight turns shares (2 to 262144, 1024 by default) into a weight (1 to 10000).
func weight(shares uint64) uint64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}

func (g *Group) cpuV2(w *writer, c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.RealtimePeriod != nil || c.RealtimeRuntime != nil {
		w.err = fmt.Errorf("resources.cpu.realtimePeriod and realtimeRuntime need cgroup version 1: version 2 has no real-time limits")
		return
	}
	if c.Idle != nil {
		w.v2("cpu.idle", text(*c.Idle))
	}
	if c.Shares != nil && *c.Shares != 0 {
		w.v2("cpu.weight", text(weight(*c.Shares)))
	}
	if c.Quota != nil || c.Period != nil {
		w.v2("cpu.max", g.cpuMax(c))
	}
	if c.Burst != nil {
		w.v2("cpu.max.burst", text(*c.Burst))
	}
	if c.Cpus != "" {
		w.v2("cpuset.cpus", c.Cpus)
	}
	if c.Mems != "" {
		w.v2("cpuset.mems", c.Mems)
	}
}

// cpuMax keeps the half of "quota period" that is not given.
func (g *Group) cpuMax(c *specs.LinuxCPU) string {
	quota, period := "max", "100000"
	if now, err := read(g.V2Dir(), "cpu.max"); err == nil {
		if q, p, ok := strings.Cut(now, " "); ok {
			quota, period = q, p
		}
	}
	if c.Quota != nil && *c.Quota != 0 {
		quota = orMax(*c.Quota)
	}
	if c.Period != nil && *c.Period != 0 {
		period = text(*c.Period)
	}
	return quota + " " + period
}

func (g *Group) memoryV2(w *writer, m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	if m.Swappiness != nil {
		w.err = fmt.Errorf("resources.memory.swappiness needs cgroup version 1")
		return
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		w.err = fmt.Errorf("resources.memory.disableOOMKiller needs cgroup version 1")
		return
	}
	if m.Swap != nil && *m.Swap != 0 {
		v, err := swapMax(m)
		if err != nil {
			w.err = err
			return
		}
		if !w.noSwap(g.V2Dir(), "memory.swap.max") {
			w.v2("memory.swap.max", v)
		}
	}
	if m.Limit != nil && *m.Limit != 0 {
		w.v2("memory.max", orMax(*m.Limit))
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		w.v2("memory.low", orMax(*m.Reservation))
	}
}

// swapMax: OCI's swap is memory plus swap, the kernel's is swap alone.
func swapMax(m *specs.LinuxMemory) (string, error) {
	switch {
	case *m.Swap < 0:
		return "max", nil
	case m.Limit == nil || *m.Limit <= 0:
		return "", fmt.Errorf("resources.memory.swap needs resources.memory.limit")
	case *m.Swap < *m.Limit:
		return "", fmt.Errorf("resources.memory.swap (memory plus swap, %d) is less than the memory limit (%d)", *m.Swap, *m.Limit)
	}
	return strconv.FormatInt(*m.Swap-*m.Limit, 10), nil
}

func blkioV2(w *writer, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	if b.Weight != nil && *b.Weight != 0 {
		w.ioWeight("", *b.Weight)
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil && *d.Weight != 0 {
			w.ioWeight(fmt.Sprintf("%d:%d ", d.Major, d.Minor), *d.Weight)
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			w.v2("io.max", fmt.Sprintf("%d:%d %s=%d", d.Major, d.Minor, t.v2, d.Rate))
		}
	}
}

// ioWeight tells every scheduler that is there: which one serves a disk may change later. BFQ's weights are OCI's. The weight of one
// disk is taken by the scheduler that serves it now, and by no other.
func (w *writer) ioWeight(device string, weight uint16) {
	if w.err != nil {
		return
	}
	var last error
	taken := false
	for _, f := range [][2]string{{"io.bfq.weight", text(weight)}, {"io.weight", text(ioWeight(weight))}} {
		switch err := write(w.group.V2Dir(), f[0], device+f[1]); {
		case err == nil:
			taken = true
		case last == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP):
			last = err
		}
	}
	switch {
	case taken:
	case errors.Is(last, unix.EOPNOTSUPP):
		w.err = fmt.Errorf("resources.blockIO.weightDevice: no scheduler that knows weights serves disk %s(BFQ is one)", device)
	default:
		w.err = last
	}
}

// ioWeight turns a weight of 10 to 1000 into one of 1 to 10000.
func ioWeight(w uint16) uint64 { return 1 + (uint64(w)-10)*9999/990 }
