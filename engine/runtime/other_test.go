//go:build linux

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// runc is Debian's, the reference that ours is compared with.
func runc(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal("runc is missing: `make deps` installs it")
	}
	return path
}

// plain leaves out what runc 1.1 does not know.
func plain(s *specs.Spec) {
	s.Version = "1.0.2"
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
}

func otherBox(t *testing.T, s *api.ContainerSpec, change ...func(*specs.Spec)) *box {
	t.Helper()
	b := newBox(t, s, append([]func(*specs.Spec){plain}, change...)...)
	b.spec.Linux.CgroupsPath = "/" + b.opts.CgroupPath
	b.write()
	b.opts.Runtime = runc(t)
	return b
}

func TestOtherRuntime(t *testing.T) {
	b := otherBox(t, sh("echo hello; echo bad >&2; exit 7"))
	st := b.create()
	if got := b.state(); got.Status != Created || got.Pid != st.Pid {
		t.Errorf("after create %+v", got)
	}
	if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if exit := b.wait(); exit.Code != 7 || !strings.Contains(b.logged(), "hello\n") || !strings.Contains(b.logged(), "bad\n") {
		t.Errorf("exit %+v, log %q", exit, b.logged())
	}
	missing := otherBox(t, &api.ContainerSpec{Args: []string{"nope"}})
	_, err := missing.rt.Create(missing.ctx(), missing.opts)
	if err == nil {
		err = missing.rt.Start(missing.ctx(), missing.opts.ID)
	}
	if !errors.Is(err, ErrNoCommand) || !strings.Contains(err.Error(), "nope") {
		t.Errorf("a command that is not there: %v", err)
	}
}

func TestOtherRuntimeExecAndKill(t *testing.T) {
	s := sh("read x; echo got $x; sleep 100")
	s.OpenStdin = true
	b := otherBox(t, s)
	b.create()
	at := b.startAttached()
	fmt.Fprintln(at.Stdin(), "abc")
	enginetest.Until(t, "it has read", func() bool { return b.logged() == "got abc\n" })
	out, errs, exit := b.exec(ExecOptions{Process: b.process("sh", "-c", "cat; echo err >&2; exit 4"), Stdin: true}, "in\n")
	if out != "in\n" || errs != "err\n" || exit.Code != 4 {
		t.Errorf("exec: %q, %q, %+v", out, errs, exit)
	}
	if _, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: b.process("nope")}); err == nil {
		t.Error("exec of a command that is not there succeeded")
	}
	p := b.process("sh", "-c", "tty; until stty size 2>/dev/null | grep 70; do sleep 0.01; done") // runc sets the size a moment later
	p.Terminal = true
	term, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: p, Size: Size{Width: 70, Height: 20}})
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	if err := term.Stream().Output(&screen, &screen); err != nil || !strings.Contains(screen.String(), "/dev/pts/") || !strings.Contains(screen.String(), "20 70") {
		t.Errorf("terminal of exec: %q, %v", screen.String(), err)
	}
	again := b.open()
	if st, err := again.State(b.ctx(), b.opts.ID); err != nil || st.Status != Running {
		t.Errorf("found again: %+v, %v", st, err)
	}
	if err := again.Kill(b.ctx(), b.opts.ID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := b.wait(); exit.Code != 137 {
		t.Errorf("exit %+v, want 137", exit)
	}
}

func TestOtherRuntimeTerminal(t *testing.T) {
	s := sh("tty; read x; echo got $x")
	s.Tty, s.OpenStdin = true, true
	b := otherBox(t, s)
	b.create()
	at := b.startAttached()
	fmt.Fprint(at.Stdin(), "abc\n")
	var screen bytes.Buffer
	if err := at.Output(&screen, &screen); err != nil || !strings.Contains(screen.String(), "/dev/pts/0") || !strings.Contains(screen.String(), "got abc") {
		t.Errorf("terminal: %q, %v", screen.String(), err)
	}
}

// look prints what a container sees, in a form that does not depend on the moment.
const look = `echo == mounts; awk '{print $5, $6}' /proc/self/mountinfo | sed 's/,*relatime//; s/,*errors=[a-z-]*//' | sort
echo == capabilities; grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status
echo == namespaces; for k in pid net mnt uts ipc cgroup user; do readlink /proc/self/ns/$k | sed 's/:.*//'; done
echo == limits; ulimit -n; ulimit -u; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max
echo == environment; env | sort
echo == dev; ls -la /dev | awk '{print $1, $3, $4, $NF}' | sort
echo == identity; id; hostname; pwd; umask; cat /proc/1/comm; readlink /proc/self/fd/0
echo == links; ip -o link | sed 's/@.*//; s/ qdisc.*//'`

// The same bundle gives the same view from inside, whoever runs it.
func TestSameViewAsRunc(t *testing.T) {
	s := sh(look)
	s.Limits = &api.ContainerLimits{MemoryBytes: 64 << 20, Pids: 50, NanoCpus: 5e8}
	s.Ulimits = []*api.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}
	s.Env, s.Workdir = []string{"A=b"}, "/tmp"
	see := func(b *box) map[string]string {
		b.start()
		if exit := b.wait(); exit.Code != 0 {
			t.Fatalf("exit %+v: %s", exit, b.logged())
		}
		parts := map[string]string{}
		for _, part := range strings.Split(b.logged(), "== ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			parts[name] = text
		}
		return parts
	}
	ours := newBox(t, s, plain)
	theirs := otherBox(t, s)
	want, got := see(theirs), see(ours)
	// Ours differs in two things: the directory of the version 1 hierarchies is read-only as a whole, and hierarchies without a
	// controller (systemd's) are not in it.
	want["mounts"] = regexp.MustCompile(`(?m)^/sys/fs/cgroup/systemd .*\n`).ReplaceAllString(want["mounts"], "")
	want["mounts"] = strings.Replace(want["mounts"], "/sys/fs/cgroup rw,", "/sys/fs/cgroup ro,", 1)
	for name := range want {
		if diff := cmp.Diff(strings.Split(want[name], "\n"), strings.Split(got[name], "\n")); diff != "" {
			t.Errorf("%s differ (-runc +ours):\n%s", name, diff)
		}
	}
}

// TestQuickExecOfOther: a command that has ended before anybody looked ran all the same; a runtime that fails has run nothing.
func TestQuickExecOfOther(t *testing.T) {
	for script, want := range map[string]string{"echo 7 >PID; exit 9": "", "exit 9": "the runtime ended with exit code 9"} {
		file := filepath.Join(t.TempDir(), "pid")
		p := &otherProcess{done: make(chan struct{}), pidFile: file, clean: func() { os.Remove(file) }}
		p.cmd = exec.Command("sh", "-c", strings.ReplaceAll(script, "PID", file))
		if err := p.start(ExecOptions{Process: &specs.Process{}}); err != nil {
			t.Fatal(err)
		}
		p.stream.ended = p.done
		p.follow()
		err := p.await(t.Context())
		if p.exit.Code != 9 || want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: exit code %d, %v", script, p.exit.Code, err)
		}
		p.stream.Close()
	}
}
