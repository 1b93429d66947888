//go:build linux

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/log"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{"true": 0, "exit 7": 7, "sh -c 'kill -SEGV $$'; exit $?": 139} {
		b := newBox(t, sh(script)).start()
		if exit := b.wait(); exit.Code != want || exit.OOMKilled || time.Since(exit.At) > time.Minute {
			t.Errorf("%q: exit %+v, want code %d", script, exit, want)
		}
		if st := b.state(); st.Status != Stopped || st.Exit == nil || st.Exit.Code != want || st.Pid != 0 {
			t.Errorf("%q: state %+v", script, st)
		}
	}
}

func TestKill(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	if err := b.rt.Kill(b.ctx(), b.opts.ID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := b.wait(); exit.Code != 137 {
		t.Errorf("exit %+v, want 137", exit)
	}
	if err := b.rt.Kill(b.ctx(), b.opts.ID, syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
		t.Errorf("second kill: %v, want %v", err, ErrNotRunning)
	}
}

func TestCreatedThenStarted(t *testing.T) {
	b := newBox(t, sh("echo run; sleep 100"))
	st := b.create()
	if got := b.state(); got.Status != Created || got.Pid != st.Pid || !got.StartedAt.IsZero() {
		t.Errorf("after create: %+v, want created with pid %d", got, st.Pid)
	}
	if got := b.logged(); got != "" {
		t.Errorf("the command ran before its start: %q", got)
	}
	if _, err := b.rt.Create(b.ctx(), b.opts); !errors.Is(err, ErrExists) {
		t.Errorf("second create: %v, want %v", err, ErrExists)
	}
	if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.state(); got.Status != Running || got.Pid != st.Pid || got.StartedAt.IsZero() {
		t.Errorf("after start: %+v", got)
	}
	if err := b.rt.Start(b.ctx(), b.opts.ID); err == nil {
		t.Error("second start succeeded")
	}
}

func TestCommandsThatCannotRun(t *testing.T) {
	for _, c := range []struct {
		args []string
		want error
		code int
		text string
	}{
		{[]string{"nope"}, ErrNoCommand, 127, `exec: "nope": executable file not found in $PATH`},
		{[]string{""}, ErrNoCommand, 127, `exec: "": executable file not found in $PATH`},
		{[]string{"/bin/nope"}, ErrNoCommand, 127, `exec: "/bin/nope": no such file or directory`},
		{[]string{"/etc/passwd"}, ErrNotRunnable, 126, `exec: "/etc/passwd": permission denied`},
		{[]string{"/etc"}, ErrNotRunnable, 126, `exec: "/etc": permission denied`},
	} {
		b := newBox(t, &api.ContainerSpec{Args: c.args})
		b.create()
		err := b.rt.Start(b.ctx(), b.opts.ID)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v: %v, want %v saying %s", c.args, err, c.want, c.text)
		}
		if exit := b.wait(); exit.Code != c.code || !strings.Contains(exit.Error, c.text) {
			t.Errorf("%v: exit %+v, want %d", c.args, exit, c.code)
		}
	}
}

// A daemon that is started anew finds everything again: what runs, what has ended, and what was half made.
func TestFoundAgain(t *testing.T) {
	running := newBox(t, sh("sleep 100"))
	running.start()
	again := running.open()
	list, err := again.List(running.ctx())
	if err != nil || len(list) != 1 || list[0].Status != Running || list[0].Pid != running.state().Pid {
		t.Fatalf("list: %+v, %v", list, err)
	}
	done := make(chan Exit, 1)
	go func() {
		exit, _ := again.Wait(running.ctx(), running.opts.ID)
		done <- exit
	}()
	if err := again.Kill(running.ctx(), running.opts.ID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := <-done; exit.Code != 137 {
		t.Errorf("exit %+v, want 137", exit)
	}
	if exit, err := running.open().Wait(running.ctx(), running.opts.ID); err != nil || exit.Code != 137 {
		t.Errorf("wait long after: %+v, %v", exit, err)
	}
}

func TestHalfMadeIsListedAndDeleted(t *testing.T) {
	b := newBox(t, sh("true"))
	p := b.rt.place(b.opts.ID)
	if err := p.reserve(record{CreateOptions: b.opts}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.rt.dir, tempPrefix+"x"), 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := b.rt.List(b.ctx())
	if err != nil || len(list) != 1 || list[0].Status != Stopped || list[0].Exit != nil {
		t.Fatalf("list: %+v, %v", list, err)
	}
	if entries, _ := os.ReadDir(b.rt.dir); len(entries) != 1 {
		t.Errorf("a reservation that was cut short is still there: %v", entries)
	}
}

// When the shim is killed the container ends with it, and nobody invents an exit code.
func TestShimKilled(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	sup, err := b.rt.place(b.opts.ID).supervised()
	if err != nil {
		t.Fatal(err)
	}
	sup.shim.kill()
	if !sup.init.await(time.Minute) {
		t.Error("the container outlived its shim")
	}
	if exit, err := b.rt.Wait(b.ctx(), b.opts.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("wait: %+v, %v, want %v", exit, err, ErrNotFound)
	}
	if st := b.state(); st.Status != Stopped || st.Exit != nil {
		t.Errorf("state %+v", st)
	}
}

func TestPause(t *testing.T) {
	b := newBox(t, sh("while true; do echo x; sleep 0.01; done")).start()
	if err := b.rt.Pause(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if st := b.state(); st.Status != Paused {
		t.Errorf("state %+v, want paused", st)
	}
	file, frozen := "/sys/fs/cgroup/freezer/"+b.opts.CgroupPath+"/freezer.state", "FROZEN\n"
	if b.unified() {
		file, frozen = "/sys/fs/cgroup/"+b.opts.CgroupPath+"/cgroup.events", "frozen 1\n"
	}
	if stat := must(os.ReadFile(file))(t); !strings.Contains(string(stat), frozen) {
		t.Errorf("the cgroup is %s", stat)
	}
	lines := strings.Count(b.logged(), "x")
	if err := b.rt.Resume(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if st := b.state(); st.Status != Running {
		t.Errorf("state %+v, want running", st)
	}
	enginetest.Until(t, "it writes again", func() bool { return strings.Count(b.logged(), "x") > lines })
}

func TestDeletePaused(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	if err := b.rt.Pause(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.rt.Delete(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
}

func TestAttach(t *testing.T) {
	s := sh("read a; echo got $a; cat >&2; exit 3")
	s.OpenStdin = true
	b := newBox(t, s)
	b.create()
	st := b.startAttached()
	big := strings.Repeat("0123456789abcde\n", 20000) // more than pipes and frames hold
	go func() {
		fmt.Fprintf(st.Stdin(), "hello\n%s", big)
		st.Stdin().Close()
	}()
	var out, errs bytes.Buffer
	if err := st.Output(&out, &errs); err != nil {
		t.Fatal(err)
	}
	if out.String() != "got hello\n" || errs.String() != big {
		t.Errorf("stdout %q, %d bytes of stderr, want %d", out.String(), errs.Len(), len(big))
	}
	if exit := b.wait(); exit.Code != 3 {
		t.Errorf("exit %+v, want 3", exit)
	}
}

func TestTerminal(t *testing.T) {
	s := sh("tty; stty size; read x; stty size; echo got $x; ls -l /dev/console")
	s.Tty, s.OpenStdin = true, true
	b := newBox(t, s)
	b.create()
	if err := b.rt.Resize(b.ctx(), b.opts.ID, Size{Width: 100, Height: 40}); err != nil {
		t.Fatal(err)
	}
	st := b.startAttached()
	out := &watched{}
	done := make(chan error, 1)
	go func() { done <- st.Output(out, out) }()
	out.await(t, "40 100")
	if err := b.rt.Resize(b.ctx(), b.opts.ID, Size{Width: 90, Height: 30}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(st.Stdin(), "abc\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{"/dev/pts/0\r\n", "30 90\r\n", "got abc\r\n", "/dev/console"} {
		if !strings.Contains(got, want) {
			t.Errorf("terminal shows %q, want %q in it", got, want)
		}
	}
}

// watched is a buffer that others wait on.
type watched struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *watched) await(t *testing.T, text string) {
	t.Helper()
	enginetest.Until(t, text+" appears", func() bool { return strings.Contains(w.String(), text) })
}

func TestInitReapsAndForwards(t *testing.T) {
	s := sh("trap 'echo caught; exit 5' TERM; (sleep 0.01 &) ; echo ready; while true; do sleep 0.05; done")
	s.Init = true
	b := newBox(t, s).start()
	enginetest.Until(t, "the trap is set", func() bool { return strings.Contains(b.logged(), "ready") })
	enginetest.Until(t, "the orphan has been collected", func() bool {
		for _, pid := range must(b.rt.Pids(b.ctx(), b.opts.ID))(t) {
			cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if strings.Contains(string(cmd), "sleep\x000.01") || strings.Contains(string(stat), ") Z ") {
				return false
			}
		}
		return true
	})
	if out, _, _ := b.exec(ExecOptions{Process: b.process("cat", "/proc/1/cmdline")}, ""); strings.Trim(out, "\x00") != "shoal-shim" {
		t.Errorf("the container sees the first process as %q", out)
	}
	if err := b.rt.Kill(b.ctx(), b.opts.ID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit := b.wait(); exit.Code != 5 || !strings.Contains(b.logged(), "caught") {
		t.Errorf("exit %+v, log %q", exit, b.logged())
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// While the daemon has the lock the shim goes on writing, and rotates when it can.
func TestLogIsLocked(t *testing.T) {
	b := newBox(t, sh("for i in $(seq 1000); do echo line $i of the log; done; trap 'echo over; exit' TERM; echo ready; while :; do sleep 0.02; done"))
	b.opts.Log.MaxSize, b.opts.Log.MaxFiles = 20<<10, 3
	unlock, err := log.Lock(b.opts.Log.Path)
	if err != nil {
		t.Fatal(err)
	}
	b.start()
	enginetest.Until(t, "all lines are in the log", func() bool {
		text, err := os.ReadFile(b.opts.Log.Path)
		return err == nil && bytes.Contains(text, []byte(`"ready\n"`))
	})
	if files, _ := filepath.Glob(b.opts.Log.Path + ".*"); len(files) > 0 || !strings.HasPrefix(b.logged(), "line 1 of") {
		t.Errorf("rotated under the lock: %v", files)
	}
	unlock()
	if err := b.rt.Kill(b.ctx(), b.opts.ID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.wait()
	if files, _ := filepath.Glob(b.opts.Log.Path + ".*"); len(files) != 1 {
		t.Errorf("rotated files: %v, want one", files)
	}
}

func TestLogIsRotated(t *testing.T) {
	b := newBox(t, sh("for i in $(seq 2000); do echo line $i of the log; done"))
	b.opts.Log.MaxSize, b.opts.Log.MaxFiles = 20<<10, 3
	b.start()
	b.wait()
	files, _ := filepath.Glob(b.opts.Log.Path + "*")
	if len(files) != 3 {
		t.Errorf("log files: %v, want three", files)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() > 40<<10 {
			t.Errorf("%s: %v, %v", f, st.Size(), err)
		}
	}
	if !strings.HasSuffix(b.logged(), "line 2000 of the log\n") {
		t.Errorf("the newest file ends with %q", b.logged()[max(0, len(b.logged())-50):])
	}
}

// Who goes on after a kill ends at once, and its group may be gone before anybody has seen that it went on.
func TestResumeOfOneThatHasEnded(t *testing.T) {
	b := newBox(t, sh("sleep 1000"))
	b.start()
	g, err := b.rt.group(b.opts.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(b.ctx()); err != nil {
		t.Fatal(err)
	}
	if err := b.rt.Resume(b.ctx(), b.opts.ID); !errors.Is(err, ErrNotRunning) {
		t.Errorf("resume: %v", err)
	}
}
