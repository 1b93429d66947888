//go:build linux

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestExec(t *testing.T) {
	s := sh("sleep 100")
	s.CapDrop = []string{"NET_RAW"}
	b := newBox(t, s).start()
	out, errs, exit := b.exec(ExecOptions{Process: b.process("sh", "-c", "echo out; echo err >&2; cat; exit 4"), Stdin: true}, "from stdin\n")
	if out != "out\nfrom stdin\n" || errs != "err\n" || exit.Code != 4 {
		t.Errorf("got %q, %q, %+v", out, errs, exit)
	}
	out, _, _ = b.exec(ExecOptions{Process: b.process("sh", "-c", "hostname; cat /proc/self/status; ls /proc/self/fd")}, "")
	for _, want := range []string{"box\n", "Seccomp:\t2", "CapEff:\t00000000a80405fb", "0\n1\n2\n3\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("exec sees\n%s\nwant %q in it", out, want)
		}
	}
	if strings.Contains(out, "\n4\n") {
		t.Errorf("exec has inherited descriptors:\n%s", out)
	}
	bob := b.process("sh", "-c", "id; pwd; echo $A")
	bob.User, bob.Cwd, bob.Env = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{2000}}, "/tmp", append(bob.Env, "A=b")
	bob.Capabilities = &specs.LinuxCapabilities{Bounding: bob.Capabilities.Bounding}
	if out, _, _ = b.exec(ExecOptions{Process: bob}, ""); out != "uid=1000(bob) gid=1000(bob) groups=2000(more)\n/tmp\nb\n" {
		t.Errorf("bob sees %q", out)
	}
	inside := must(b.rt.Pids(b.ctx(), b.opts.ID))(t)
	p, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: b.process("sleep", "99")})
	if err != nil {
		t.Fatal(err)
	}
	if now := must(b.rt.Pids(b.ctx(), b.opts.ID))(t); len(now) != len(inside)+1 {
		t.Errorf("processes in the cgroup: %v, before the exec %v", now, inside)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(b.ctx()); err != nil || exit.Code != 137 {
		t.Errorf("killed exec: %+v, %v", exit, err)
	}
	if err := p.Signal(syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal after the end: %v", err)
	}
	p.Stream().Close()
}

func TestExecPrivileged(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	proc := b.process("grep", "-E", "^(CapEff|Seccomp):", "/proc/self/status")
	proc.Capabilities = allCaps()
	out, _, _ := b.exec(ExecOptions{Process: proc, Privileged: true}, "")
	if want := fmt.Sprintf("CapEff:\t%016x\nSeccomp:\t0\n", b.rt.caps&(1<<len(capNames)-1)); out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestExecThatCannotRun(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	for _, name := range []string{"nope", ""} {
		_, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: b.process(name)})
		if !errors.Is(err, ErrNoCommand) || !strings.Contains(err.Error(), fmt.Sprintf("exec: %q: executable file not found in $PATH", name)) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	_, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: b.process("/etc/passwd")})
	if !errors.Is(err, ErrNotRunnable) {
		t.Errorf("got %v", err)
	}
	over := newBox(t, sh("true")).start()
	over.wait()
	if _, err := over.rt.Exec(over.ctx(), over.opts.ID, ExecOptions{Process: over.process("true")}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("exec in a stopped container: %v", err)
	}
	if _, err := over.rt.Exec(over.ctx(), "none", ExecOptions{Process: over.process("true")}); !errors.Is(err, ErrNotFound) {
		t.Errorf("exec in no container: %v", err)
	}
}

func TestExecTerminal(t *testing.T) {
	b := newBox(t, &api.ContainerSpec{Args: []string{"sleep", "100"}}).start()
	proc := b.process("sh", "-c", "tty; read x; stty size; echo got $x")
	proc.Terminal = true
	p, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: proc, Stdin: true, Size: Size{Width: 70, Height: 20}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(Size{Width: 71, Height: 21}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(p.Stream().Stdin(), "abc\n")
	var out bytes.Buffer
	if err := p.Stream().Output(&out, &out); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(b.ctx()); err != nil || exit.Code != 0 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	for _, want := range []string{"/dev/pts/0\r\n", "21 71\r\n", "got abc\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("terminal shows %q, want %q in it", out.String(), want)
		}
	}
}

// A grandchild that keeps the streams open does not keep the session open.
func TestExecLeavesGrandchildren(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	start := time.Now()
	out, _, exit := b.exec(ExecOptions{Process: b.process("sh", "-c", "sleep 60 & echo done")}, "")
	if out != "done\n" || exit.Code != 0 || time.Since(start) > 30*time.Second {
		t.Errorf("got %q, %+v after %s", out, exit, time.Since(start))
	}
}

// TestExecInAnOlderContainer: a daemon joins every hierarchy that is mounted, its predecessor may have left one out.
func TestExecInAnOlderContainer(t *testing.T) {
	b := newBox(t, sh("sleep 100"))
	if b.unified() {
		t.Skip("SKIPPED: version 2 has one hierarchy")
	}
	b.start()
	g := must(b.rt.group(b.opts.ID))(t)
	tasks := g.TaskFiles()
	gone := filepath.Dir(tasks[len(tasks)-1])
	if err := os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(gone)), "tasks"), fmt.Append(nil, b.state().Pid), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if out, errs, exit := b.exec(ExecOptions{Process: b.process("echo", "in")}, ""); out != "in\n" {
		t.Errorf("exec: %q, %q, %+v", out, errs, exit)
	}
}

// TestExecAsksShim: what the record does not say of a shim, the shim does.
func TestExecAsksShim(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	rec := must(b.rt.place(b.opts.ID).record())(t)
	if rec.Layout != wire.Layout {
		t.Errorf("the record says %d", rec.Layout)
	}
	rec.Layout = 0
	if layout, err := b.rt.layout(t.Context(), rec); layout != wire.Layout || err != nil {
		t.Errorf("the shim says %d, %v", layout, err)
	}
	rec.ID = "gone"
	if _, err := b.rt.layout(t.Context(), rec); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no shim: %v", err)
	}
	first, now := headerBytes(&wire.Header{PidFile: wire.Span{Off: 1, Len: 1}, LogMax: 7}, wire.LayoutFirst), headerBytes(&wire.Header{LogMax: 7}, wire.Layout)
	if len(first) != 96 || len(now) != 104 || first[80] != 7 || now[88] != 7 {
		t.Errorf("headers of %d and %d bytes: %v, %v", len(first), len(now), first, now)
	}
}

// There is one shim per container, and a container with health checks has an exec every few seconds for as long as it lives.
func TestExecsLeaveNothingInTheShim(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	sup := must(b.rt.place(b.opts.ID).supervised())(t)
	execs := func(n int) {
		for range n {
			b.exec(ExecOptions{Process: b.process("true")}, "")
		}
	}
	execs(20)
	before := privateKB(t, sup.shim.pid)
	execs(300)
	if after := privateKB(t, sup.shim.pid); after > before+150 {
		t.Errorf("the shim's own memory was %d kB and is %d kB after 300 execs", before, after)
	}
}

func privateKB(t *testing.T, pid int) (kB int) {
	t.Helper()
	text := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)))(t))
	_, line, _ := strings.Cut(text, "RssAnon:")
	if _, err := fmt.Sscanf(line, "%d kB", &kB); err != nil {
		t.Fatal(err)
	}
	return kB
}

// A signal may cross the news of the process's end. It must never reach the container's first process instead.
func TestSignalsAfterTheEndOfAnExec(t *testing.T) {
	b := newBox(t, sh("sleep 1000")).start()
	for range 100 {
		p, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: b.process("true"), Tied: true})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = p.Signal(syscall.SIGKILL)
		}
		if !errors.Is(err, ErrNotRunning) {
			t.Fatal(err)
		}
		p.Stream().Close()
	}
	if st := must(b.rt.State(b.ctx(), b.opts.ID))(t); st.Status != Running {
		t.Fatalf("the container is %v", st.Status)
	}
}

// The same of the shim alone: older daemons send it signals.
func TestShimKnowsWhatAConnectionIsAbout(t *testing.T) {
	b := newBox(t, sh("sleep 1000")).start()
	conn := must(b.rt.connect(b.opts.ID))(t)
	defer conn.Close()
	k := must(b.rt.config(b.opts.ID))(t)
	null := must(os.OpenFile(os.DevNull, os.O_RDWR, 0))(t)
	defer null.Close()
	fd := int(null.Fd())
	blob := must(compileExec(b.rt.atFirst(k), ExecOptions{Process: b.process("true")}, wire.Layout))(t)
	if r, err := conn.Call(b.ctx(), wire.OpRunExec, 0, blob, fd, fd, fd); err != nil || r.Op != wire.OpCreated {
		t.Fatal(r, err)
	}
	if r, err := conn.Receive(); err != nil || r.Op != wire.OpExit {
		t.Fatal(r, err)
	}
	_, err := conn.Call(b.ctx(), wire.OpKill, uint16(syscall.SIGKILL), nil)
	var refused *shim.Error
	if !errors.As(err, &refused) || refused.Code != wire.CodeNotRunning {
		t.Errorf("a late signal: %v", err)
	}
	if st := must(b.rt.State(b.ctx(), b.opts.ID))(t); st.Status != Running {
		t.Fatalf("the container is %v", st.Status)
	}
}
