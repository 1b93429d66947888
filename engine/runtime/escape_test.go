//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// escapes are attempts on the host by the mechanisms of published holes. Each is a script that succeeds if the container can,
// and changes nothing when it does: what it writes was there before.
var escapes = []struct{ name, script, needs string }{
	{"mount (CVE-2022-0492 begins so)", "mount -t tmpfs x /tmp", ""},
	{"a cgroup's release_agent (CVE-2022-0492)", "mkdir /tmp/cg; (mount -t cgroup -o pids x /tmp/cg || mount -t cgroup2 x /tmp/cg) && (test -w /tmp/cg/release_agent || test -w /tmp/cg/cgroup.procs)", ""},
	{"core_pattern", "cat /proc/sys/kernel/core_pattern > /tmp/was && cat /tmp/was > /proc/sys/kernel/core_pattern", ""},
	{"sysctl of the machine", "cat /proc/sys/kernel/panic > /tmp/was && cat /tmp/was > /proc/sys/kernel/panic", ""},
	{"sysrq", "echo h > /proc/sysrq-trigger", "/proc/sysrq-trigger"},
	{"write to sysfs", "f=/sys/kernel/mm/transparent_hugepage/defrag; test -e $f || f=/sys/kernel/uevent_seqnum; test -w $f && touch $f", ""},
	{"a cgroup of its own", "d=/sys/fs/cgroup/memory; test -d $d || d=/sys/fs/cgroup; mkdir $d/x && rmdir $d/x", ""},
	{"its own limits", "f=/sys/fs/cgroup/pids/cgroup.procs; test -e $f || f=/sys/fs/cgroup/cgroup.procs; test -w $f && touch $f", ""},
	{"a block device's node", "mknod /tmp/disk b 7 0 && dd if=/tmp/disk of=/dev/null bs=512 count=1", "/dev/loop0"},
	{"kernel messages", "dmesg | grep -q .", ""},
	{"the clock", "date -s @$(date +%s) 2>&1 | grep -q . && ! date -s @$(date +%s) 2>&1 | grep -q set", ""},
	{"processes of the host", "test $(ls -d /proc/[0-9]* | wc -l) -gt 8", ""},
	{"another process's root", "test -d /proc/$(ls /proc | grep '^[0-9]*$' | sort -n | sed -n 2p)/root/proc", ""},
	{"a user namespace inside", "/bin/busybox unshare -U true", ""},
	{"what masks hide", "test -s /proc/kcore || test -s /proc/keys || test -d /sys/firmware/acpi || test -n \"$(ls /proc/acpi)\" || grep -q . /proc/timer_list", ""},
	{"unmasking", "umount /proc/kcore || umount /proc/keys || umount /proc/sys || (mount -t proc p /tmp && test -e /tmp/self)", ""},
	{"raw sockets beyond NET_RAW: another interface's state", "ip link set lo down && ip link set lo up", ""},
}

// weaken gives a container what containers must not have: the host's processes, every capability, every device, no filter.
func weaken(s *specs.Spec) {
	all := allCaps()
	s.Process.Capabilities = all
	s.Linux.Seccomp, s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil, nil
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	keep := s.Linux.Namespaces[:0]
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != specs.PIDNamespace && ns.Type != specs.CgroupNamespace {
			keep = append(keep, ns)
		}
	}
	s.Linux.Namespaces = keep
	for i := range s.Mounts {
		for j, o := range s.Mounts[i].Options {
			if o == "ro" {
				s.Mounts[i].Options[j] = "rw"
			}
		}
	}
}

// TestEscapes: all fail, and each succeeds in a weakened container, so that it is seen to bite.
func TestEscapes(t *testing.T) {
	for _, e := range escapes {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(e.needs); e.needs != "" && err != nil {
				t.Skipf("SKIPPED: this kernel has no %s", e.needs)
			}
			b := newBox(t, sh("("+e.script+") 2>&1")).start()
			if exit := b.wait(); exit.Code == 0 {
				t.Errorf("%s succeeded: %s", e.script, b.logged())
			}
			weak := newBox(t, sh("("+e.script+") 2>&1"), weaken).start()
			if exit := weak.wait(); exit.Code != 0 {
				t.Errorf("in a weakened container %s fails too: the attempt proves nothing: %s", e.script, weak.logged())
			}
		})
	}
}

// held lists what a container has open besides its streams.
const held = "for f in /proc/self/fd/*; do l=$(readlink $f); case $l in pipe:*|/dev/null|/proc/*|'') ;; *) echo $l;; esac; done"

// CVE-2024-21626: no descriptor of the runtime or the host is open in a container, and its working directory is inside.
func TestNoDescriptorsLeak(t *testing.T) {
	if got := output(t, sh(held)); got != "" {
		t.Errorf("a container holds %q", got)
	}
	for fd := 3; fd < 30; fd++ {
		b := newBox(t, sh("ls"), func(s *specs.Spec) { s.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd) })
		if _, err := b.rt.Create(b.ctx(), b.opts); err == nil {
			b.rt.Start(b.ctx(), b.opts.ID)
			if exit := b.wait(); exit.Code == 0 {
				t.Errorf("working directory %s: got a listing of %q", b.spec.Process.Cwd, b.logged())
			}
		}
	}
	b := newBox(t, sh(held))
	b.createChanged(func(_ []byte, in *wire.Instr) {
		switch in.NR {
		case unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE:
			in.NR = unix.SYS_GETPID
		case unix.SYS_OPENAT:
			in.Args[2] &^= unix.O_CLOEXEC
		}
	})
	if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if b.wait(); b.logged() == "" {
		t.Error("a runtime that closes nothing is not noticed: the attempt proves nothing")
	}
}

// createChanged is Create with every step of the child's program changed; what a step points at is in blob.
func (b *box) createChanged(change func(blob []byte, in *wire.Instr)) {
	b.t.Helper()
	p := b.rt.place(b.opts.ID)
	sp := must(readSpec(b.opts.Bundle))(b.t)
	rec := record{CreateOptions: b.opts, Hooks: sp.Hooks}
	if err := p.reserve(rec); err != nil {
		b.t.Fatal(err)
	}
	g := must(b.rt.tree.Group(b.opts.CgroupPath))(b.t)
	if err := g.Create(); err != nil {
		b.t.Fatal(err)
	}
	in := b.rt.input(b.opts, sp, g)
	in.filter = must(b.rt.filter(sp.Linux.Seccomp))(b.t)
	blob := must(compile(in))(b.t)
	n := binary.NativeEndian.Uint32(blob[unsafe.Offsetof(wire.Header{}.NInstr):])
	for i := range uintptr(n) {
		change(blob, (*wire.Instr)(unsafe.Pointer(&blob[unsafe.Sizeof(wire.Header{})+i*unsafe.Sizeof(wire.Instr{})])))
	}
	conn := must(b.rt.launch(p))(b.t)
	defer conn.Close()
	if _, err := b.rt.makeWithHooks(context.Background(), conn, rec, in, blob); err != nil {
		b.t.Fatal(err)
	}
}

// allCaps is every capability there is, for privileged processes.
func allCaps() *specs.LinuxCapabilities {
	all := capNames[:]
	return &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
}
