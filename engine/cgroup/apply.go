//go:build linux

package cgroup

import (
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
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
	if w.err != nil {
		return fmt.Errorf("set limits: %w", w.err)
	}
	return nil
}

func refuse(r *specs.LinuxResources) error {
	switch {
	case r.Network != nil && (r.Network.ClassID != nil || len(r.Network.Priorities) > 0):
		return fmt.Errorf("resources.network is not supported")
	case len(r.Rdma) > 0:
		return fmt.Errorf("resources.rdma is not supported")
	case r.CPU != nil && (r.CPU.RealtimePeriod != nil || r.CPU.RealtimeRuntime != nil):
		return fmt.Errorf("resources.cpu.realtimePeriod and realtimeRuntime are not supported")
	case r.Memory != nil && (r.Memory.Kernel != nil || r.Memory.KernelTCP != nil): //nolint:staticcheck // refusing what is deprecated
		return fmt.Errorf("resources.memory.kernel is not supported: the kernel has no such limit any more")
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

func (g *Group) applyV1(w *writer, r *specs.LinuxResources) {
	if len(r.Unified) > 0 {
		w.err = fmt.Errorf("resources.unified needs cgroup version 2, this machine has version 1")
		return
	}
	g.cpuV1(w, r.CPU)
	g.memoryV1(w, r.Memory)
	if r.Pids != nil && r.Pids.Limit != nil {
		w.v1("pids", "pids.max", orMax(*r.Pids.Limit))
	}
	blkioV1(w, r.BlockIO)
	for _, h := range r.HugepageLimits {
		w.v1("hugetlb", "hugetlb."+h.Pagesize+".limit_in_bytes", text(h.Limit))
	}
	if r.Devices != nil {
		g.devicesV1(w, r.Devices)
	}
}

// orMax is the form of a limit where zero and less mean none.
func orMax(v int64) string {
	if v <= 0 {
		return "max"
	}
	return text(v)
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
		if m.Swap != nil && *m.Swap != 0 {
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
	if b.LeafWeight != nil {
		w.err = fmt.Errorf("resources.blockIO.leafWeight is not supported")
		return
	}
	if b.Weight != nil && *b.Weight != 0 {
		w.v1("blkio", blkioWeight(w.group.dir("blkio")), text(*b.Weight))
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil {
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

func (g *Group) applyV2(w *writer, r *specs.LinuxResources) {
	g.cpuV2(w, r.CPU)
	g.memoryV2(w, r.Memory)
	if r.Pids != nil && r.Pids.Limit != nil {
		w.v2("pids.max", orMax(*r.Pids.Limit))
	}
	blkioV2(w, r.BlockIO)
	for _, h := range r.HugepageLimits {
		w.v2("hugetlb."+h.Pagesize+".max", text(h.Limit))
	}
	if r.Devices != nil && w.err == nil {
		w.err = attachDevices(g.V2Dir(), r.Devices)
	}
	names := make([]string, 0, len(r.Unified))
	for name := range r.Unified {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if name != filepath.Base(name) {
			w.err = fmt.Errorf("resources.unified: %q is not the name of a file", name)
			return
		}
		w.v2(name, r.Unified[name])
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
		w.v2("memory.swap.max", v)
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
	if b.LeafWeight != nil {
		w.err = fmt.Errorf("resources.blockIO.leafWeight is not supported")
		return
	}
	if b.Weight != nil && *b.Weight != 0 { // 10 to 1000 becomes 1 to 10000
		w.v2("io.weight", text(1+(uint64(*b.Weight)-10)*9999/990))
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil {
			w.v2("io.weight", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, 1+(uint64(*d.Weight)-10)*9999/990))
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			w.v2("io.max", fmt.Sprintf("%d:%d %s=%d", d.Major, d.Minor, t.v2, d.Rate))
		}
	}
}
