//go:build linux

package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestCreateIsRepeatable(t *testing.T) {
	g := newGroup(t)
	if err := g.Create(); err != nil {
		t.Errorf("the second time: %v", err)
	}
	for _, d := range g.dirs() {
		if _, err := os.Stat(d); err != nil {
			t.Error(err)
		}
	}
	if d := g.dir("cpuset"); d != "" {
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if v, err := read(d, name); err != nil || v == "" {
				t.Errorf("%s is %q, %v: no process could join", name, v, err)
			}
		}
	}
}

// Whatever lives in a group dies with it: processes that ignore signals, in groups of their own below, or frozen.
func TestDelete(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, g *Group){
		"empty":       func(*testing.T, *Group) {},
		"a process":   func(t *testing.T, g *Group) { start(t, g, "trap '' TERM; sleep 1000") },
		"frozen":      func(t *testing.T, g *Group) { start(t, g, "sleep 1000"); freeze(t, g, true) },
		"many":        func(t *testing.T, g *Group) { start(t, g, "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait") },
		"other below": func(t *testing.T, g *Group) { start(t, below(t, g), "sleep 1000") },
		"gone":        func(t *testing.T, g *Group) { remove(t, g) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			prepare(t, g)
			remove(t, g)
			expectGone(t, g)
			if pids, err := g.Pids(); err != nil || len(pids) != 0 {
				t.Errorf("processes %v, %v", pids, err)
			}
		})
	}
}

// below makes a group inside g, as a container may: on version 2 without controllers, for which g must be empty.
func below(t *testing.T, g *Group) *Group {
	t.Helper()
	b, err := g.tree.Group(g.path + "/inner")
	if err != nil {
		t.Fatal(err)
	}
	if g.Unified() {
		err = os.Mkdir(b.V2Dir(), 0o755)
	} else {
		err = b.Create()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDeleteTellsWhatIsInUse(t *testing.T) {
	g := newGroup(t)
	start(t, g, "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Delete(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("no time to wait: %v", err)
	}
}

// The last group of a parent takes it away, while another is being made in it.
func TestSiblingsComeAndGo(t *testing.T) {
	g := newGroup(t)
	var wg sync.WaitGroup
	for _, name := range []string{"/a", "/b", "/c"} {
		wg.Go(func() {
			for range 15 {
				s, err := g.tree.Group(filepath.Dir(g.path) + "-siblings" + name)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Create(); err != nil {
					t.Error(err)
					return
				}
				for _, d := range s.dirs() {
					if _, err := os.Stat(d); err != nil {
						t.Errorf("after Create: %v", err)
					}
				}
				remove(t, s)
			}
		})
	}
	wg.Wait()
	if s, err := g.tree.Group(filepath.Dir(g.path) + "-siblings/a"); err == nil {
		expectGone(t, s)
	}
}

func freeze(t *testing.T, g *Group, frozen bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Freeze(ctx, frozen); err != nil {
		t.Fatal(err)
	}
	if got, err := g.Frozen(); err != nil || got != frozen {
		t.Fatalf("frozen: %v, %v", got, err)
	}
}

func TestFreeze(t *testing.T) {
	g := newGroup(t)
	start(t, g, "while :; do :; done")
	used := func() uint64 {
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.CPUNanos
	}
	before := used()
	eventually(t, "the loop runs", func() bool { return used() > before })
	for range 3 {
		freeze(t, g, true)
		before = used()
		for range 200 {
			if now := used(); now != before {
				t.Fatalf("frozen, it used %d ns", now-before)
			}
		}
		freeze(t, g, false)
		eventually(t, "the loop goes on", func() bool { return used() > before })
	}
}

func TestKillReachesTheFrozen(t *testing.T) {
	g := newGroup(t)
	m := start(t, g, "sleep 1000")
	freeze(t, g, true)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	m.end(t)
	if s := m.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v", m.ProcessState)
	}
}

// A container that freezes its own processes, in a group that it has made, is killed all the same.
func TestKillReachesTheFrozenBelow(t *testing.T) {
	g := newGroup(t)
	inner := below(t, g)
	m := start(t, inner, "sleep 1000")
	freeze(t, inner, true)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	m.end(t)
}

func TestPidsAndSignal(t *testing.T) {
	g := newGroup(t)
	m := start(t, g, "trap 'echo got it; exit 3' USR1; sleep 1000 & wait")
	inner := start(t, below(t, g), "exec sleep 1000")
	var pids []int
	eventually(t, "three processes", func() bool {
		var err error
		if pids, err = g.Pids(); err != nil {
			t.Fatal(err)
		}
		return len(pids) == 3
	})
	if err := g.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if out := m.end(t); out != "got it\n" {
		t.Errorf("the shell says %q", out)
	}
	inner.end(t)
}

func TestStats(t *testing.T) {
	g := newGroup(t)
	if err := g.Apply(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: to(int64(64 << 20))}}); err != nil {
		t.Fatal(err)
	}
	start(t, g, "while :; do :; done")
	eventually(t, "numbers", func() bool {
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.CPUNanos > 0 && s.Pids == 1 && s.Memory > 0 && s.Memory < 64<<20 && s.MemoryLimit == 64<<20
	})
}

func TestPaths(t *testing.T) {
	tree := &Tree{v2: "/cg", v1: []hierarchy{{name: "memory", root: "/v1/memory", controllers: []string{"memory"}}}}
	for path, want := range map[string]string{"a/b": "a/b", "/a/b/": "a/b", "a/../../../b": "b", "": "", "/": "", "..": ""} {
		g, err := tree.Group(path)
		if (err != nil) != (want == "") || g != nil && (g.V2Dir() != "/cg/"+want || g.dir("memory") != "/v1/memory/"+want) {
			t.Errorf("%q: %+v, %v", path, g, err)
		}
	}
}

func TestMountinfo(t *testing.T) {
	const hybrid = `25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct
29 25 0:26 / /sys/fs/cgroup/memory rw shared:1 master:2 - cgroup cgroup rw,memory
30 25 0:26 / /mnt/again rw - cgroup cgroup rw,memory`
	const unified = `26 25 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
27 25 0:23 / /var/lib/other/sys/fs/cgroup rw - cgroup2 cgroup2 rw
broken line
28 25 0:23 / /x - cgroup2`
	const besides = `26 25 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
31 25 0:27 / /opt/vpn/net_cls rw - cgroup net_cls rw,net_cls
32 25 0:28 / /sys/fs/systemd rw - cgroup none rw,xattr,name=systemd`
	for name, tc := range map[string]struct {
		text    string
		v2, cpu string
		unified bool
		tasks   int
		shown   int
	}{
		"hybrid":  {hybrid, "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu,cpuacct/g", false, 3, 2},
		"unified": {unified, "/sys/fs/cgroup", "", true, 0, 0},
		"besides": {besides, "/sys/fs/cgroup", "", true, 2, 1},
	} {
		tree := mountinfo(tc.text)
		g := &Group{tree: tree, path: "g"}
		if tree.v2 != tc.v2 || g.dir("cpu") != tc.cpu || tree.Unified() != tc.unified || len(g.TaskFiles()) != tc.tasks || len(g.Dirs()) != tc.shown {
			t.Errorf("%s: %+v", name, tree)
		}
	}
}
