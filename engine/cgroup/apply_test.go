//go:build linux

package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func apply(t *testing.T, g *Group, r *specs.LinuxResources) {
	t.Helper()
	if err := g.Apply(r); err != nil {
		t.Fatal(err)
	}
}

func TestPidsLimitBites(t *testing.T) {
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: to(int64(4))}})
	out := start(t, g, "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo all were made").end(t)
	if !strings.Contains(out, "ork") || strings.Contains(out, "all were made") { // dash: Cannot fork, bash: fork: retry
		t.Errorf("six children with a limit of four processes: %q", out)
	}
	if pids, err := g.Pids(); err != nil || len(pids) > 4 {
		t.Errorf("processes %v, %v", pids, err)
	}
	apply(t, g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: to(int64(0))}})
	holds(t, g, map[string]string{"pids.max": "max"})
}

func TestMemoryLimitBitesAndIsCounted(t *testing.T) {
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: to(int64(16 << 20)), Swap: to(int64(16 << 20))}})
	kills := func() uint64 {
		n, err := keyed(filepath.Dir(g.OOMFile()), filepath.Base(g.OOMFile()), "oom_kill")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := kills(); n != 0 {
		t.Fatalf("%d killed before anything ran", n)
	}
	m := start(t, g, "exec tail /dev/zero")
	out := m.end(t)
	if s := m.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Errorf("a line without end in 16 MiB: %v, %.200q", m.ProcessState, out)
	}
	if n := kills(); n != 1 {
		t.Errorf("%d counted as killed, want 1", n)
	}
}

// Raising and lowering both limits, in every direction, whatever the kernel wants to be written first.
func TestMemoryLimitMoves(t *testing.T) {
	g := newGroup(t)
	const none = -1
	for _, step := range []struct{ limit, swap int64 }{{64 << 20, 128 << 20}, {32 << 20, 32 << 20}, {256 << 20, 256 << 20}, {16 << 20, 512 << 20}, {none, none}, {64 << 20, 64 << 20}} {
		apply(t, g, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &step.limit, Swap: &step.swap}})
		if g.Unified() {
			holds(t, g, map[string]string{"memory.max": orMax(step.limit), "memory.swap.max": swapText(t, step.limit, step.swap)})
			continue
		}
		for name, want := range map[string]int64{"memory.limit_in_bytes": step.limit, "memory.memsw.limit_in_bytes": step.swap} {
			got, err := number(g.dir("memory"), name)
			if err != nil || (want == none) != (got > noLimit) || want != none && got != uint64(want) {
				t.Errorf("%v: %s is %d, %v", step, name, got, err)
			}
		}
	}
}

func swapText(t *testing.T, limit, swap int64) string {
	t.Helper()
	v, err := swapMax(&specs.LinuxMemory{Limit: &limit, Swap: &swap})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCPULimitBites(t *testing.T) {
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: to(int64(2000)), Period: to(uint64(20000)), Shares: to(uint64(512)), Cpus: "0", Mems: "0"}})
	start(t, g, "while :; do :; done")
	eventually(t, "the loop is throttled", func() bool {
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.ThrottledNanos > 0
	})
	want := map[string]string{"cpu.shares": "512", "cpu.cfs_quota_us": "2000", "cpu.cfs_period_us": "20000", "cpuset.cpus": "0"}
	if g.Unified() {
		want = map[string]string{"cpu.weight": "20", "cpu.max": "2000 20000", "cpuset.cpus": "0", "cpuset.mems": "0"}
	}
	holds(t, g, want)
}

// Every limit of version 2 at once, in the kernel's own files.
func TestEverythingOfVersion2(t *testing.T) {
	g := newGroup(t)
	if !g.Unified() {
		t.Skip("SKIPPED: this machine limits by cgroups of version 1: make e2e-vm has one that does not")
	}
	apply(t, g, &specs.LinuxResources{
		CPU:            &specs.LinuxCPU{Shares: to(uint64(2048)), Quota: to(int64(50000)), Period: to(uint64(100000)), Burst: to(uint64(1000)), Cpus: "0", Mems: "0"},
		Memory:         &specs.LinuxMemory{Limit: to(int64(64 << 20)), Swap: to(int64(96 << 20)), Reservation: to(int64(16 << 20))},
		Pids:           &specs.LinuxPids{Limit: to(int64(99))},
		BlockIO:        &specs.LinuxBlockIO{Weight: to(uint16(500))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		Devices:        defaultDevices(),
		Unified:        map[string]string{"memory.high": "33554432", "cpu.idle": "0"},
	})
	holds(t, g, map[string]string{
		"cpu.weight": "79", "cpu.max": "50000 100000", "cpu.max.burst": "1000", "cpuset.cpus": "0", "cpuset.mems": "0",
		"memory.max": "67108864", "memory.swap.max": "33554432", "memory.low": "16777216", "memory.high": "33554432", "pids.max": "99",
		"io.weight": "default 4950", "hugetlb.2MB.max": "4194304",
	})
}

// Two huge pages do not fit where one is allowed.
func TestHugePageLimitBites(t *testing.T) {
	g := newGroup(t)
	if !g.limits("hugetlb") {
		t.Skip("SKIPPED: this machine has no hugetlb controller")
	}
	dir := hugePages(t)
	apply(t, g, &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 2 << 20}}})
	if g.dir("hugetlb") == "" { // the same by the file's name
		holds(t, g, map[string]string{"hugetlb.2MB.max": "2097152"})
		apply(t, g, &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 64 << 20}}, Unified: map[string]string{"hugetlb.2MB.max": "2M"}})
	}
	out := start(t, g, "fallocate -l 2097152 "+dir+"/one && echo one; fallocate -l 4194304 "+dir+"/two && echo two").end(t)
	if !strings.Contains(out, "one\n") || strings.Contains(out, "two\n") {
		t.Errorf("got %q, want one page and not two", out)
	}
}

func TestRefusals(t *testing.T) {
	for name, r := range map[string]*specs.LinuxResources{
		"class ID": {Network: &specs.LinuxNetwork{ClassID: to(uint32(1))}},
		"rdma":     {Rdma: map[string]specs.LinuxRdma{"x": {}}},
		"realtime": {CPU: &specs.LinuxCPU{RealtimeRuntime: to(int64(1))}},
		//lint:ignore SA1019 what is deprecated is refused
		"kernel":       {Memory: &specs.LinuxMemory{Kernel: to(int64(1))}},
		"leaf weight":  {BlockIO: &specs.LinuxBlockIO{LeafWeight: to(uint16(10))}},
		"weight":       {BlockIO: &specs.LinuxBlockIO{Weight: to(uint16(5))}},
		"device type":  {Devices: []specs.LinuxDeviceCgroup{{Type: "p"}}},
		"access":       {Devices: []specs.LinuxDeviceCgroup{{Access: "rx"}}},
		"all, number":  {Devices: []specs.LinuxDeviceCgroup{{Major: to(int64(1)), Access: "r"}}},
		"no such file": {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}},
	} {
		for _, g := range []*Group{fakeV1(t), fakeV2(t)} {
			if err := g.Apply(r); err == nil {
				t.Errorf("%s: accepted (version 2: %v)", name, g.Unified())
			}
		}
	}
	unified := &specs.LinuxResources{Unified: map[string]string{"cpu.max": "max"}}
	if err := fakeV1(t).Apply(unified); err == nil {
		t.Error("unified: accepted by version 1")
	}
	for _, name := range []string{"../x", "a/b", ".."} {
		if err := fakeV2(t).Apply(&specs.LinuxResources{Unified: map[string]string{name: "1"}}); err == nil {
			t.Errorf("unified: %q accepted", name)
		}
	}
	for name, r := range map[string]*specs.LinuxMemory{
		"swappiness":         {Swappiness: to(uint64(1))},
		"oom killer":         {DisableOOMKiller: to(true)},
		"swap without limit": {Swap: to(int64(1))},
		"swap below limit":   {Swap: to(int64(1)), Limit: to(int64(2))},
	} {
		if err := fakeV2(t).Apply(&specs.LinuxResources{Memory: r}); err == nil {
			t.Errorf("version 2, %s: accepted", name)
		}
	}
}

// fakeV2 is a group of version 2 made of ordinary files.
func fakeV2(t *testing.T) *Group {
	root := t.TempDir()
	fill(t, filepath.Join(root, "g"), "cpu.idle", "cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems", "memory.swap.max", "memory.max",
		"memory.low", "pids.max", "io.weight", "io.max", "hugetlb.2MB.max", "memory.high", "cpu.stat", "memory.stat", "memory.current", "pids.current", "io.stat")
	return &Group{tree: &Tree{v2: root}, path: "g"}
}

func fakeV1(t *testing.T) *Group {
	g := &Group{tree: &Tree{}, path: "g"}
	for controller, files := range map[string][]string{"blkio": {"blkio.weight", "blkio.throttle.read_bps_device"}, "devices": {"devices.allow", "devices.deny"}, "cpu": {"cpu.idle"}, "memory": nil, "hugetlb": nil} {
		root := t.TempDir()
		fill(t, filepath.Join(root, "g"), files...)
		g.tree.v1 = append(g.tree.v1, hierarchy{name: controller, root: root, controllers: []string{controller}})
	}
	return g
}

func fill(t *testing.T, dir string, files ...string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// written lists what a directory's files hold, but for the empty ones.
func written(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		if v, err := read(dir, e.Name()); err == nil && v != "" {
			out[e.Name()] = v
		}
	}
	return out
}

func TestVersion2(t *testing.T) {
	for name, tc := range map[string]struct {
		before map[string]string
		r      specs.LinuxResources
		want   map[string]string
	}{
		"nothing": {want: map[string]string{}},
		"cpu": {r: specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: to(uint64(1024)), Quota: to(int64(50000)), Period: to(uint64(200000)), Burst: to(uint64(7)), Cpus: "0-1", Mems: "0"}},
			want: map[string]string{"cpu.weight": "39", "cpu.max": "50000 200000", "cpu.max.burst": "7", "cpuset.cpus": "0-1", "cpuset.mems": "0"}},
		"quota alone keeps the period": {before: map[string]string{"cpu.max": "max 300000"},
			r: specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: to(int64(50000))}}, want: map[string]string{"cpu.max": "50000 300000"}},
		"period alone keeps the quota": {before: map[string]string{"cpu.max": "9000 100000"},
			r: specs.LinuxResources{CPU: &specs.LinuxCPU{Period: to(uint64(200000))}}, want: map[string]string{"cpu.max": "9000 200000"}},
		"quota off": {before: map[string]string{"cpu.max": "9000 100000"},
			r: specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: to(int64(-1))}}, want: map[string]string{"cpu.max": "max 100000"}},
		"memory": {r: specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: to(int64(1000)), Swap: to(int64(1500)), Reservation: to(int64(600))}},
			want: map[string]string{"memory.max": "1000", "memory.swap.max": "500", "memory.low": "600"}},
		"memory off": {r: specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: to(int64(-1)), Swap: to(int64(-1))}},
			want: map[string]string{"memory.max": "max", "memory.swap.max": "max"}},
		"pids":       {r: specs.LinuxResources{Pids: &specs.LinuxPids{Limit: to(int64(9))}}, want: map[string]string{"pids.max": "9"}},
		"pids off":   {r: specs.LinuxResources{Pids: &specs.LinuxPids{Limit: to(int64(-1))}}, want: map[string]string{"pids.max": "max"}},
		"huge pages": {r: specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4096}}}, want: map[string]string{"hugetlb.2MB.max": "4096"}},
		"block devices": {r: specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: to(uint16(500)),
			ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttleOf(8, 0, 1000)}}},
			want: map[string]string{"io.weight": "4950", "io.max": "8:0 rbps=1000"}},
		"as it is written": {r: specs.LinuxResources{Unified: map[string]string{"memory.high": "77"}}, want: map[string]string{"memory.high": "77"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := fakeV2(t)
			for file, text := range tc.before {
				if err := os.WriteFile(filepath.Join(g.V2Dir(), file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			apply(t, g, &tc.r)
			got := written(t, g.V2Dir())
			for file := range tc.before { // ordinary files are overwritten and not replaced
				got[file] = strings.TrimSpace(got[file][:min(len(got[file]), len(tc.want[file]))])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// BFQ has a file of its own; where only that is, the weight goes there as it is.
func TestWeightForBFQ(t *testing.T) {
	for both, want := range map[bool]map[string]string{
		true:  {"io.weight": "4950", "io.bfq.weight": "500"},
		false: {"io.bfq.weight": "500"},
	} {
		g := fakeV2(t)
		if err := os.WriteFile(filepath.Join(g.V2Dir(), "io.bfq.weight"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if !both {
			os.Remove(filepath.Join(g.V2Dir(), "io.weight"))
		}
		apply(t, g, &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: to(uint16(500))}})
		if diff := cmp.Diff(want, written(t, g.V2Dir())); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func throttleOf(major, minor int64, rate uint64) specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return d
}

func TestWeights(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		if got := weight(shares); got != want {
			t.Errorf("%d shares: weight %d, want %d", shares, got, want)
		}
	}
	for w, want := range map[uint16]uint64{10: 1, 1000: 10000} {
		if got := ioWeight(w); got != want {
			t.Errorf("block weight %d: %d, want %d", w, got, want)
		}
	}
}

func TestVersion2Stats(t *testing.T) {
	g := fakeV2(t)
	for file, text := range map[string]string{
		"cpu.stat": "usage_usec 1500\nuser_usec 1\nthrottled_usec 20\n", "memory.current": "1000\n", "memory.max": "max\n", "memory.stat": "anon 1\ninactive_file 300\n",
		"pids.current": "7\n", "io.stat": "8:0 rbytes=100 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n",
	} {
		if err := os.WriteFile(filepath.Join(g.V2Dir(), file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := g.Stats()
	want := Stats{CPUNanos: 1_500_000, ThrottledNanos: 20_000, Memory: 700, Pids: 7, BlockRead: 101, BlockWrite: 22}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if g.OOMFile() != g.V2Dir()+"/memory.events" {
		t.Errorf("OOM file %s", g.OOMFile())
	}
}
