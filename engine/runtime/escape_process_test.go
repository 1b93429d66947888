//go:build linux

package runtime

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// CVE-2016-9962 by mechanism: while a process comes into a container that may trace processes, nothing of the host is seen
// through it.
func TestNewcomersBringNothingAlong(t *testing.T) {
	const tries = 50
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte("of the host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// It looks through every process that comes next, without starting any itself.
	script := fmt.Sprintf("echo ready; while :; do for p in /proc/[0-9]*; do { read x < $p/root%s && echo SEEN $x; } 2>/dev/null; done; done", canary)
	b := newBox(t, sh(script), func(s *specs.Spec) {
		caps := append(s.Process.Capabilities.Bounding, "CAP_SYS_PTRACE")
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	}).start()
	enginetest.Until(t, "it runs", func() bool { return b.logged() != "" })
	for range tries {
		b.exec(ExecOptions{Process: b.process("true")}, "")
	}
	if strings.Contains(b.logged(), "SEEN") {
		t.Errorf("seen in %d of %d: a file of the host", strings.Count(b.logged(), "SEEN"), tries)
	}
}

// CVE-2024-21626 for processes that come later: none has a working directory outside, whatever is open meanwhile.
func TestExecDirectoryIsInside(t *testing.T) {
	b := newBox(t, sh("echo ready; sleep 1000")).start()
	enginetest.Until(t, "it runs", func() bool { return b.logged() != "" })
	for fd := range 40 {
		p := b.process("ls")
		p.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
		if proc, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: p}); err == nil {
			proc.Stream().Close()
			t.Errorf("exec in %s is started", p.Cwd)
		}
	}
	p := b.process("ls", "/")
	p.Cwd = "/proc/1/root/tmp" // a way round that stays inside
	if out, errs, exit := b.exec(ExecOptions{Process: p}, ""); exit.Code != 0 {
		t.Errorf("%q, %q, %+v", out, errs, exit)
	}
}

// CVE-2022-24769, CVE-2022-29162: a program with inheritable capabilities in its file would get what the container has dropped.
func TestNothingIsInheritable(t *testing.T) {
	b := newBox(t, sh("grep CapInh /proc/self/status; sleep 1000")).start()
	const none = "CapInh:\t0000000000000000\n"
	enginetest.Until(t, "it has looked", func() bool { return strings.HasSuffix(b.logged(), "\n") })
	out, _, _ := b.exec(ExecOptions{Process: b.process("grep", "CapInh", "/proc/self/status")}, "")
	if b.logged() != none || out != none {
		t.Errorf("first process %q, exec %q", b.logged(), out)
	}
	weak := output(t, sh("grep CapInh /proc/self/status"), func(s *specs.Spec) {
		s.Process.Capabilities.Inheritable = s.Process.Capabilities.Bounding
	})
	if weak == none {
		t.Error("capabilities that are inheritable are not seen: the attempt proves nothing")
	}
}

// CVE-2020-15257: whoever shares the host's network finds no socket of the engine there.
func TestNoSocketWithoutFile(t *testing.T) {
	const find = "grep -i 'shoal\\|shim' /proc/net/unix | grep '@'"
	host := func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		s.Linux.Sysctl = nil
	}
	b := newBox(t, sh(find), host).start()
	if exit := b.wait(); exit.Code == 0 {
		t.Errorf("reachable from a container: %s", b.logged())
	}
	l, err := net.Listen("unix", fmt.Sprintf("@shoal-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if exit := newBox(t, sh(find), host).start().wait(); exit.Code != 0 {
		t.Error("one that is there is not found: the attempt proves nothing")
	}
}

// CVE-2022-0811: a parameter's value is a value, whatever is in it.
func TestParametersAreNotSplit(t *testing.T) {
	before := must(os.ReadFile("/proc/sys/kernel/core_pattern"))(t)
	for _, value := range []string{"1+kernel.core_pattern=|/evil", "1\nkernel.core_pattern=|/evil", "1;kernel.core_pattern=x", "1=2"} {
		b := newBox(t, sh("true"), func(s *specs.Spec) { s.Linux.Sysctl["kernel.shm_rmid_forced"] = value })
		if _, err := b.rt.Create(b.ctx(), b.opts); err == nil {
			b.rt.Start(b.ctx(), b.opts.ID)
			b.wait()
		}
	}
	for _, name := range []string{"net/../kernel/core_pattern", "net.ipv4/../../kernel/core_pattern", "kernel.shm_rmid_forced/../core_pattern", "net./../kernel.core_pattern"} {
		b := newBox(t, sh("true"), func(s *specs.Spec) { s.Linux.Sysctl[name] = "|/evil" })
		if _, err := b.rt.Create(b.ctx(), b.opts); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if after := must(os.ReadFile("/proc/sys/kernel/core_pattern"))(t); string(after) != string(before) {
		t.Errorf("core_pattern was %q and is %q", before, after)
		os.WriteFile("/proc/sys/kernel/core_pattern", before, 0)
	}
}

// CVE-2025-52565: the terminal covers /dev/console and nothing that a link of this name leads to.
func TestConsoleIsNotALink(t *testing.T) {
	const script = "test -c /proc/sys/kernel/panic" // a terminal instead of the parameter
	trap := func(s *specs.Spec) {
		dir := volume(t, s)
		if err := os.Mkdir(dir+"/dev", 0o755); err != nil {
			t.Fatal(err)
		}
		replaceByLink(t, s.Root.Path+"/dev", "/shared/dev")
		meanwhile(t, s, fmt.Sprintf("cd %s && mv dev real && mkdir dev && ln -s ../real/pts ../real/null dev/ && ln -s /proc/sys/kernel/panic dev/console", dir))
	}
	run := func(create func(*box)) Exit {
		s := sh(script)
		s.Tty = true
		b := newBox(t, s, trap)
		create(b)
		if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
			t.Fatal(err)
		}
		return b.wait()
	}
	if exit := run(func(b *box) { b.create() }); exit.Code == 0 {
		t.Error("the terminal covers a file of /proc")
	}
	weak := func(_ []byte, in *wire.Instr, was steps) {
		if in.NR == unix.SYS_OPENAT && was.label(in) == "make /dev/console" {
			in.Args[2] &^= unix.O_NOFOLLOW
		}
	}
	if exit := run(func(b *box) { b.createWeak(weak) }); exit.Code != 0 {
		t.Error("with a weakened runtime it does not: the attempt proves nothing")
	}
}
