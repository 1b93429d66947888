//go:build linux

package cgroup

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func (g *Group) applyV1(w *writer, r *specs.LinuxResources) {
	g.cpuV1(w, r.CPU)
	g.memoryV1(w, r.Memory)
	if r.Pids != nil && r.Pids.Limit != nil {
		w.v1("pids", "pids.max", orMax(*r.Pids.Limit))
	}
	blkioV1(w, r.BlockIO)
	if r.Devices != nil {
		g.devicesV1(w, r.Devices)
	}
}

func (g *Group) cpuV1(w *writer, c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.Shares != nil && *c.Shares != 0 {
		w.v1("cpu", "cpu.shares", text(*c.Shares))
	}
	if c.Period != nil && *c.Period != 0 {
		w.v1("cpu", "cpu.cfs_period_us", text(*c.Period))
	}
	if c.Quota != nil && *c.Quota != 0 {
		w.v1("cpu", "cpu.cfs_quota_us", text(*c.Quota))
	}
	if c.Burst != nil {
		w.v1("cpu", "cpu.cfs_burst_us", text(*c.Burst))
	}
	if c.Idle != nil {
		w.v1("cpu", "cpu.idle", text(*c.Idle))
	}
	g.realtimeV1(w, c)
	if c.Cpus != "" {
		w.v1("cpuset", "cpuset.cpus", c.Cpus)
	}
	if c.Mems != "" {
		w.v1("cpuset", "cpuset.mems", c.Mems)
	}
}

// memoryV1 sets memory and memory+swap in the order that keeps the second at least
// as large as the first at every moment.
func (g *Group) memoryV1(w *writer, m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	limit := func() {
		if m.Limit != nil && *m.Limit != 0 {
			w.v1("memory", "memory.limit_in_bytes", text(*m.Limit))
		}
	}
	swap := func() {
		if m.Swap != nil && *m.Swap != 0 && !w.noSwap(g.dir("memory"), "memory.memsw.limit_in_bytes") {
			w.v1("memory", "memory.memsw.limit_in_bytes", text(*m.Swap))
		}
	}
	raising := m.Swap != nil && *m.Swap == -1
	if dir := g.dir("memory"); dir != "" && m.Limit != nil && !raising {
		if now, err := number(dir, "memory.memsw.limit_in_bytes"); err == nil {
			raising = *m.Limit < 0 || uint64(*m.Limit) > now
		}
	}
	if raising {
		swap()
		limit()
	} else {
		limit()
		swap()
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		w.v1("memory", "memory.soft_limit_in_bytes", text(*m.Reservation))
	}
	if m.Swappiness != nil {
		w.v1("memory", "memory.swappiness", text(*m.Swappiness))
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		w.v1("memory", "memory.oom_control", "1")
	}
}

func blkioV1(w *writer, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	if b.Weight != nil && *b.Weight != 0 {
		w.v1("blkio", blkioWeight(w.group.dir("blkio")), text(*b.Weight))
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil && *d.Weight != 0 {
			w.v1("blkio", blkioWeight(w.group.dir("blkio"))+"_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight))
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			w.v1("blkio", t.v1, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate))
		}
	}
}

// blkioWeight is the file of the scheduler in use.
func blkioWeight(dir string) string {
	if _, err := read(dir, "blkio.weight"); err == nil {
		return "blkio.weight"
	}
	return "blkio.bfq.weight"
}
