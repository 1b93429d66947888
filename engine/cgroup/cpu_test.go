//go:build linux

package cgroup

import (
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const spin = "while :; do :; done"

func (g *Group) used(t *testing.T) uint64 {
	t.Helper()
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s.CPUNanos
}

// inside is a group in another, with limits of its own.
func inside(t *testing.T, parent *Group, name string) *Group {
	t.Helper()
	g, err := parent.tree.Group(parent.path + "/" + name)
	if err == nil {
		err = g.Create()
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Two groups that want one processor get it in the proportion of their shares, whatever else the machine does.
func TestCPUSharesBite(t *testing.T) {
	parent := newGroup(t)
	much, little := inside(t, parent, "much"), inside(t, parent, "little")
	for g, shares := range map[*Group]uint64{much: 10240, little: 1024} {
		apply(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares, Cpus: "0", Mems: "0"}})
		start(t, g, spin)
	}
	eventually(t, "both have run", func() bool { return much.used(t) > 0 && little.used(t) > 0 })
	a, b := much.used(t), little.used(t)
	const enough = 1_500_000_000 // some hundred turns
	eventually(t, "a second and a half of one processor is used", func() bool { return much.used(t)-a+little.used(t)-b > enough })
	if a, b = much.used(t)-a, little.used(t)-b; a < 4*b || a > 25*b {
		t.Errorf("with ten times the shares one used %d ms, the other %d ms", a/1e6, b/1e6)
	}
}

// What a group saved while it slept it may use at once: more than its quota in one period, and the kernel counts that.
func TestCPUBurstBites(t *testing.T) {
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: to(int64(10_000)), Period: to(uint64(200_000)), Burst: to(uint64(10_000))}})
	plain := newGroup(t)
	apply(t, plain, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: to(int64(10_000)), Period: to(uint64(200_000))}})
	for _, g := range []*Group{g, plain} {
		start(t, g, spin+" & while sleep 0.6; do kill -STOP $!; sleep 0.6; kill -CONT $!; done")
	}
	eventually(t, "a burst is counted", func() bool { return g.cpuStat(t, "nr_bursts") > 0 })
	eventually(t, "the other is throttled", func() bool { return plain.cpuStat(t, "nr_throttled") > 2 })
	if n := plain.cpuStat(t, "nr_bursts"); n > 0 {
		t.Errorf("%d bursts where none are allowed", n)
	}
}

func (g *Group) cpuStat(t *testing.T, key string) uint64 {
	t.Helper()
	dir := g.dir("cpu")
	if g.Unified() {
		dir = g.V2Dir()
	}
	n, err := keyed(dir, "cpu.stat", key)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Nobody in the group can go to a processor that is not the group's, root neither.
func TestCPUSetBites(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("SKIPPED: this machine has one processor")
	}
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "1", Mems: "0"}})
	m := start(t, g, "while read key value; do case $key in ???s_allowed_list:) echo $value;; esac; done </proc/self/status; exec sleep 1000")
	eventually(t, "it says where it may run", func() bool { return strings.Count(m.said(t), "\n") == 2 })
	if got := m.said(t); got != "1\n0\n" {
		t.Errorf("allowed processors and memory: %q, want 1 and 0", got)
	}
	var set unix.CPUSet
	set.Set(0)
	if err := unix.SchedSetaffinity(m.Process.Pid, &set); err != unix.EINVAL {
		t.Errorf("moved to processor 0: %v, want a refusal", err)
	}
	if err := g.Apply(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "999"}}); err == nil {
		t.Error("a processor that is not there is accepted")
	}
}
