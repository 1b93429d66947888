//go:build linux

package cgroup

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// swapOn gives this machine some swap for as long as the test takes.
func swapOn(t *testing.T, size int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "swap")
	data := make([]byte, size) // no holes: the kernel takes none
	page := os.Getpagesize()
	binary.NativeEndian.PutUint32(data[1024:], 1) // version
	binary.NativeEndian.PutUint32(data[1028:], uint32(size/page-1))
	copy(data[page-10:], "SWAPSPACE2")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(name)), 0, 0); err != 0 {
		t.Skipf("SKIPPED: no swap in a file here: %v", err)
	}
	t.Cleanup(func() {
		if _, _, err := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(name)), 0, 0); err != 0 {
			t.Errorf("turn swap off: %v", err)
		}
	})
}

// holdMemory is a script that has so many MiB of memory of its own until it is ended.
func holdMemory(mib int) string {
	n := strconv.Itoa(mib << 20)
	return "{ head -c " + n + " /dev/zero; echo all; sleep 1000; } | tail -c " + n
}

// touch is a script that has so many MiB of memory of its own for a moment.
func touch(mib int) string {
	return "exec dd if=/dev/zero of=/dev/null count=1 bs=" + strconv.Itoa(mib<<20)
}

func (m *member) killed() bool {
	s := m.ProcessState.Sys().(syscall.WaitStatus)
	return s.Signaled() && s.Signal() == syscall.SIGKILL
}

func (g *Group) swapped(t *testing.T) uint64 {
	t.Helper()
	n, err := uint64(0), error(nil)
	if g.Unified() {
		n, err = number(g.V2Dir(), "memory.swap.current")
	} else {
		n, err = keyed(g.dir("memory"), "memory.stat", "swap")
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func memory(limit, swap int64) *specs.LinuxMemory {
	return &specs.LinuxMemory{Limit: to(limit << 20), Swap: to(swap << 20)}
}

// What does not fit into memory goes to swap, up to the limit of both together, and no further.
func TestSwapLimitBites(t *testing.T) {
	swapOn(t, 64<<20)
	g := newGroup(t)
	apply(t, g, &specs.LinuxResources{Memory: memory(16, 40)})
	start(t, g, holdMemory(24))
	eventually(t, "eight of 24 MiB are swapped", func() bool { return g.swapped(t) >= 6<<20 })
	full := newGroup(t)
	apply(t, full, &specs.LinuxResources{Memory: memory(16, 24)})
	m := start(t, full, touch(40))
	if m.end(t); !m.killed() {
		t.Errorf("40 MiB in 24 of memory and swap: %v, want it killed", m.ProcessState)
	}
	fits := newGroup(t)
	apply(t, fits, &specs.LinuxResources{Memory: memory(16, 40)})
	m = start(t, fits, touch(24))
	if m.end(t); !m.ProcessState.Success() {
		t.Errorf("24 MiB in 40 of memory and swap: %v", m.ProcessState)
	}
}

// With a swappiness of 0 nothing is swapped: what would have fitted into swap is killed.
func TestSwappinessBites(t *testing.T) {
	g := newGroup(t)
	if g.Unified() {
		t.Skip("SKIPPED: cgroups of version 2 have no swappiness (TestRefusals)")
	}
	swapOn(t, 64<<20)
	m := memory(16, 64)
	m.Swappiness = to(uint64(0))
	apply(t, g, &specs.LinuxResources{Memory: m})
	p := start(t, g, touch(24))
	if p.end(t); !p.killed() {
		t.Errorf("24 MiB in 16 and no swappiness: %v, want it killed", p.ProcessState)
	}
}

// Without the OOM killer a group that is out of memory waits until it has more.
func TestNoOOMKiller(t *testing.T) {
	g := newGroup(t)
	if g.Unified() {
		t.Skip("SKIPPED: cgroups of version 2 cannot do without the OOM killer (TestRefusals)")
	}
	m := memory(16, 16)
	m.DisableOOMKiller = to(true)
	apply(t, g, &specs.LinuxResources{Memory: m})
	// By the program itself: a system call that needs memory for its answer, as dd's, fails where it cannot wait.
	p := start(t, g, "exec perl -e '$x = \"x\" x (24 << 20)'")
	eventually(t, "it is out of memory", func() bool {
		n, err := keyed(g.dir("memory"), "memory.oom_control", "under_oom")
		return err == nil && n == 1
	})
	apply(t, g, &specs.LinuxResources{Memory: memory(64, 64)})
	if p.end(t); !p.ProcessState.Success() {
		t.Errorf("with more memory: %v, want it to have gone on", p.ProcessState)
	}
}
