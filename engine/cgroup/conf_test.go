//go:build linux

package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A file by its name limits like the field that the specification has for it.
func TestConfBites(t *testing.T) {
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{Unified: map[string]string{"pids.max": "4"}})
	out := start(t, g, "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo all were made").end(t)
	if !strings.Contains(out, "ork") || strings.Contains(out, "all were made") {
		t.Errorf("six children with a limit of four processes: %q", out)
	}
}

// What is above memory.high is made to wait and is taken away, not killed.
func TestMemoryHighBites(t *testing.T) {
	g := newGroup(t)
	if !g.Unified() {
		t.Skip("SKIPPED: this machine has no memory.high: make e2e-vm has one with cgroups of version 2")
	}
	apply(t, g, &specs.LinuxResources{Unified: map[string]string{"memory.high": "8M"}})
	start(t, g, "head -c 100000000 /dev/zero | tail -c 60000000 >/dev/null; sleep 1000")
	eventually(t, "it is held back", func() bool {
		n, err := keyed(g.V2Dir(), "memory.events", "high")
		return err == nil && n > 0
	})
}

func TestCheckConf(t *testing.T) {
	tree := &Tree{v2: t.TempDir(), v1: []hierarchy{{name: "memory", root: "/m", controllers: []string{"memory"}}, {name: "systemd", controllers: []string{"name=systemd"}}}}
	fill(t, filepath.Join(tree.v2, "g"))
	if err := os.WriteFile(filepath.Join(tree.v2, "cgroup.controllers"), []byte("hugetlb misc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"memory.high", "hugetlb.2MB.max", "misc.max", "memory.kmem.tcp.limit_in_bytes"} {
		if err := tree.CheckConf(name, "1"); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{
		"rdma.max":          "no rdma controller, it has hugetlb, memory, misc",
		"name.max":          "no name controller",
		"cgroup.procs":      "moves processes",
		"devices.allow":     "--device",
		"freezer.state":     "pause",
		"release_agent":     "CONTROLLER.SETTING",
		"notify_on_release": "CONTROLLER.SETTING",
		"tasks":             "CONTROLLER.SETTING",
		"":                  "CONTROLLER.SETTING",
		"memory..max":       "CONTROLLER.SETTING",
		"memory.":           "CONTROLLER.SETTING",
		"../memory.max":     "CONTROLLER.SETTING",
		"memory.a/b":        "CONTROLLER.SETTING",
		"memory.max\n":      "CONTROLLER.SETTING",
		".memory":           "CONTROLLER.SETTING",
	} {
		if err := tree.CheckConf(name, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", name, err, want)
		}
	}
	for _, value := range []string{"1\n2", "\x00"} {
		if err := tree.CheckConf("memory.high", value); err == nil {
			t.Errorf("the value %q is accepted", value)
		}
	}
}

// The kernel's own words for what a group's file does not take, and what it does not have.
func TestConfErrors(t *testing.T) {
	g := newGroup(t)
	for name, want := range map[string]string{"pids.max": "does not take \"lots\"", "pids.min": "pids controller of this host has no such file", "cgroup.procs": "moves processes"} {
		err := g.Apply(&specs.LinuxResources{Unified: map[string]string{name: "lots"}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "/sys/") {
			t.Errorf("%s: %v, want an error with %q", name, err, want)
		}
	}
	if err := g.Apply(&specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"none0": {HcaHandles: to(uint32(1))}}}); err == nil {
		t.Error("a limit for an RDMA device that is not there is accepted")
	}
}

func TestRdma(t *testing.T) {
	g := fakeV2(t)
	fill(t, filepath.Join(g.V2Dir(), "more"))
	if err := os.WriteFile(filepath.Join(g.V2Dir(), "rdma.max"), nil, 0o600); err != nil { // no machine of ours has such a device
		t.Fatal(err)
	}
	apply(t, g, &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx4_0": {HcaHandles: to(uint32(2)), HcaObjects: to(uint32(2000))}}})
	holds(t, g, map[string]string{"rdma.max": "mlx4_0 hca_handle=2 hca_object=2000"})
}

const inOwnMounts = "SHOAL_TEST_OWN_MOUNTS"

// alone runs the test once more, in mount and network namespaces of its own, and says whether this is that run.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inOwnMounts) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: namespaces need root")
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inOwnMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if i := strings.Index(string(out), "SKIPPED"); err == nil && i >= 0 {
		t.Skip(string(out[i:]))
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

// mountV1 mounts a version 1 hierarchy that this machine may have and has not mounted, for the test alone.
func mountV1(t *testing.T, controller string) {
	t.Helper()
	at := filepath.Join(t.TempDir(), controller)
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", at, "cgroup", 0, controller); err != nil {
		t.Skipf("SKIPPED: this kernel has no %s controller of version 1 to spare: %v", controller, err)
	}
	// A tree outlives its last mount while a group in it is not quite gone, and programs stumble over trees that are mounted
	// nowhere. Each end of a mount is another chance for it to go, which takes a moment: a mount too early makes it anew.
	t.Cleanup(func() {
		unix.Unmount(at, 0)
		last := time.Now()
		eventually(t, controller+" is no tree of its own any more", func() bool {
			text, err := os.ReadFile("/proc/self/cgroup")
			if err == nil && !strings.Contains(string(text), ":"+controller+":") {
				return true
			}
			if time.Since(last) > time.Second && unix.Mount("none", at, "cgroup", 0, controller) == nil {
				unix.Unmount(at, 0)
				last = time.Now()
			}
			return false
		})
	})
}

func run(t *testing.T, args ...string) error {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skipf("SKIPPED: %s is not installed", args[0])
	}
	if err != nil {
		t.Logf("%v: %s", args, out)
	}
	return err
}

// A firewall's rule about a class hits the packets of the group with that class, and no others.
func TestNetClassOfAGroup(t *testing.T) {
	if !alone(t) {
		return
	}
	mountV1(t, "net_cls")
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: to(uint32(0x100001))}})
	holds(t, g, map[string]string{"net_cls.classid": "1048577"})
	if err := errors.Join(run(t, "ip", "link", "set", "lo", "up"), run(t, "nft", "add table inet t"),
		run(t, "nft", "add chain inet t out { type filter hook output priority 0; }")); err != nil {
		t.Fatal(err)
	}
	if run(t, "nft", "add rule inet t out meta cgroup 0x100001 drop") != nil {
		t.Skip("SKIPPED: this kernel's nftables does not know classes of groups")
	}
	ping := func(patience string) string {
		return "busybox ping -c 1 -W " + patience + " 127.0.0.1 >/dev/null 2>&1 && echo arrived || echo lost"
	}
	if out := start(t, g, ping("1")).end(t); out != "lost\n" {
		t.Errorf("a packet of the class %q, want it dropped", out)
	}
	apply(t, g, &specs.LinuxResources{Unified: map[string]string{"net_cls.classid": "0"}})
	if out := start(t, g, ping("30")).end(t); out != "arrived\n" {
		t.Errorf("a packet without the class %q", out)
	}
}

func TestNetPriorityAndPerfEvents(t *testing.T) {
	if !alone(t) {
		return
	}
	mountV1(t, "net_prio")
	mountV1(t, "perf_event")
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 5}}}})
	if have, err := read(g.dir("net_prio"), "net_prio.ifpriomap"); err != nil || !slices.Contains(strings.Split(have, "\n"), "lo 5") {
		t.Errorf("priorities %q, %v, want 5 for lo", have, err)
	}
	m := start(t, g, "cat /proc/self/cgroup; exec sleep 1000")
	for _, controller := range []string{"net_prio", "perf_event"} {
		tasks, err := read(g.dir(controller), "tasks")
		if err != nil || tasks == "" {
			t.Errorf("%s: no process is in the group: %v", controller, err)
		}
	}
	m.Process.Kill()
}

// Without time of its own a group's processes cannot have a real-time policy; with some they have no more than that.
func TestRealtimeLimitBites(t *testing.T) {
	g := newGroup(t)
	if _, err := signed(g.dir("cpu"), rtRuntime); err != nil {
		if err := g.Apply(&specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: to(int64(1000))}}); err == nil {
			t.Error("a real-time limit that this kernel does not have is accepted")
		}
		t.Skip("SKIPPED: this kernel has no real-time limits for groups (CONFIG_RT_GROUP_SCHED, version 1)")
	}
	if _, err := exec.LookPath("chrt"); err != nil {
		t.Skip("SKIPPED: no chrt here")
	}
	const loop = "exec chrt -f 1 sh -c 'while :; do :; done'"
	if out := start(t, g, "chrt -f 1 echo has it").end(t); strings.Contains(out, "has it") {
		t.Errorf("without a limit: %q, want it refused", out)
	}
	apply(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: to(int64(20_000)), RealtimePeriod: to(uint64(200_000))}})
	start(t, g, loop)
	used := func() time.Duration {
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(s.CPUNanos)
	}
	eventually(t, "it runs", func() bool { return used() > 10*time.Millisecond })
	began, before := time.Now(), used()
	eventually(t, "a second passes", func() bool { return time.Since(began) > time.Second })
	if got := used() - before; got > 400*time.Millisecond {
		t.Errorf("a loop with 100 ms of every second took %v of one", got)
	}
	// Those above have as much as all below them, and not more than the host.
	sibling, err := g.tree.Group(filepath.Dir(g.path) + "/sibling")
	if err != nil {
		t.Fatal(err)
	}
	if err := sibling.Create(); err != nil {
		t.Fatal(err)
	}
	defer remove(t, sibling)
	apply(t, sibling, &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: to(int64(30_000))}})
	if got, err := signed(filepath.Dir(g.dir("cpu")), rtRuntime); err != nil || got != 130_000 {
		t.Errorf("the group above has %d µs, %v, want 130000", got, err)
	}
	if err := sibling.Apply(&specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: to(int64(999_000))}}); err == nil || !strings.Contains(err.Error(), "have left") {
		t.Errorf("more than the host has: %v", err)
	}
	apply(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: to(int64(1000)), RealtimePeriod: to(uint64(10_000))}})
}

// A tree beside version 2 is ours to use, and no other runtime's.
func TestBeside(t *testing.T) {
	vpn := []hierarchy{{name: "net_cls", controllers: []string{"net_cls"}}, {name: "systemd", controllers: []string{"name=systemd"}}}
	beside, v1 := &Tree{v2: "/cg", v1: vpn}, &Tree{v1: append(vpn, hierarchy{name: "memory", controllers: []string{"memory"}})}
	class := &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: to(uint32(1))}}
	for _, tc := range []struct {
		tree *Tree
		r    *specs.LinuxResources
		want string
	}{
		{beside, class, "net_cls"}, {beside, &specs.LinuxResources{Unified: map[string]string{"net_cls.classid": "many"}}, "net_cls"},
		{beside, &specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}, HugepageLimits: []specs.LinuxHugepageLimit{{}}}, ""},
		{beside, nil, ""}, {v1, class, ""},
	} {
		if got := tc.tree.Beside(tc.r); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.r, got, tc.want)
		}
	}
}
