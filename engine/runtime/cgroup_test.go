//go:build linux

package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// unified: this machine has control groups of version 2 and no others.
func (b *box) unified() bool { return b.rt.tree.Unified() }

// A container sees its own groups and limits at /sys/fs/cgroup, and nothing around them.
func TestOwnCgroups(t *testing.T) {
	const v1 = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max; ls -d /sys/fs/cgroup/pids/*/; sleep 100"
	const v2 = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cat /proc/self/cgroup; ls -d /sys/fs/cgroup/*/; sleep 100"
	s := sh("if test -e /sys/fs/cgroup/cgroup.procs; then " + v2 + "; else " + v1 + "; fi")
	s.Limits = &api.ContainerLimits{MemoryBytes: 64 << 20, Pids: 20}
	b := newBox(t, s).start()
	want := "67108864\n20\n"
	if b.unified() {
		want += "0::/\n"
	}
	enginetest.Until(t, "it has looked", func() bool { return strings.Contains(b.logged(), "No such file") }) // there is none below
	if got := b.logged(); !strings.HasPrefix(got, want) {
		t.Errorf("inside: %q, want %q", got, want)
	}
	out, _, _ := b.exec(ExecOptions{Process: b.process("cat", "/proc/self/cgroup")}, "")
	if b.unified() && out != "0::/\n" {
		t.Errorf("one more process is in %q", out)
	}
	mine, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", b.state().Pid))
	if !strings.Contains(string(mine), ":/"+b.opts.CgroupPath+"\n") {
		t.Errorf("on the host its groups are\n%s\nwant %s", mine, b.opts.CgroupPath)
	}
}

// A container that may (as systemd in one does) moves into a group of its own and gives controllers to those below. Then no
// process can be in its uppermost group: one more goes to where the first is.
func TestGroupsMadeInside(t *testing.T) {
	s := sh(`cd /sys/fs/cgroup && mkdir inner && echo 0 >inner/cgroup.procs && echo +pids >cgroup.subtree_control && echo ready; sleep 100`)
	s.Privileged = true
	b := newBox(t, s)
	if !b.unified() {
		t.Skip("SKIPPED: this machine has control groups of version 1; make e2e-vm has one with version 2")
	}
	b.start()
	enginetest.Until(t, "it has moved", func() bool { return b.logged() == "ready\n" })
	out, errs, exit := b.exec(ExecOptions{Process: b.process("cat", "/proc/self/cgroup")}, "")
	if out != "0::/inner\n" || exit.Code != 0 {
		t.Errorf("one more process says %q, %q, %+v", out, errs, exit)
	}
	if pids := must(b.rt.Pids(b.ctx(), b.opts.ID))(t); len(pids) == 0 {
		t.Error("no processes are seen in the group below")
	}
}

// What a shim inherits is put at low numbers before it is executed from this one.
func TestShimIsAboveWhatItInherits(t *testing.T) {
	b := newBox(t, sh("true"))
	if fd := b.rt.program.Fd(); fd < 16 {
		t.Errorf("the shim's program is descriptor %d", fd)
	}
}

// A container that joins another's cgroup namespace is in groups of its own all the same: it sees them from where the other is.
func TestJoinedCgroupNamespace(t *testing.T) {
	first := newBox(t, sh("sleep 100")).start()
	path := fmt.Sprintf("/proc/%d/ns/cgroup", first.state().Pid)
	second := newBox(t, sh("sleep 100"), func(s *specs.Spec) {
		for i := range s.Linux.Namespaces {
			if s.Linux.Namespaces[i].Type == specs.CgroupNamespace {
				s.Linux.Namespaces[i].Path = path
			}
		}
	}).start()
	want := must(os.Readlink(path))(t)
	if got := must(os.Readlink(fmt.Sprintf("/proc/%d/ns/cgroup", second.state().Pid)))(t); got != want {
		t.Errorf("cgroup namespace %s, want %s", got, want)
	}
	out, errs, exit := second.exec(ExecOptions{Process: second.process("grep", "-E", "^(0:|[0-9]+:memory)", "/proc/self/cgroup")}, "")
	if exit.Code != 0 || !strings.Contains(out, ":/../"+filepath.Base(second.opts.CgroupPath)+"\n") {
		t.Errorf("one more process is in %q, %q, %+v", out, errs, exit)
	}
}
