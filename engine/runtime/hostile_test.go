//go:build linux

package runtime

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
)

// TestTerminalTakesMuchInput pastes more than a terminal holds to a program that is slow to read.
func TestTerminalTakesMuchInput(t *testing.T) {
	const size = 1 << 20
	s := sh(fmt.Sprintf("stty raw -echo; echo ready; sleep 0.3; head -c %d | wc -c", size))
	s.Tty, s.OpenStdin = true, true
	b := newBox(t, s)
	b.create()
	st := b.startAttached()
	out := &watched{}
	go st.Output(out, out)
	out.await(t, "ready")
	go st.Stdin().Write(bytes.Repeat([]byte("x"), size))
	out.await(t, fmt.Sprint(size))
}

// TestLogOnAFullDisk: lines are lost while there is no room for them, and none that comes later.
func TestLogOnAFullDisk(t *testing.T) {
	b := newBox(t, sh("seq 20000; touch /dev/shm/half; until test -e /dev/shm/go; do sleep 0.01; done; echo last"))
	disk := t.TempDir()
	if err := unix.Mount("disk", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(disk, unix.MNT_DETACH)
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	b.opts.Log.Path = filepath.Join(disk, "log")
	b.start()
	inside := func(args ...string) int {
		_, _, exit := b.exec(ExecOptions{Process: b.process(args...)}, "")
		return exit.Code
	}
	enginetest.Until(t, "it has written more than there is room for", func() bool { return inside("test", "-e", "/dev/shm/half") == 0 })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	// From outside: an exec that ends the container by it may be told that it does not run.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/dev/shm/go", b.state().Pid), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.wait()
	if got := b.logged(); !strings.HasPrefix(got, "1\n2\n3\n") || !strings.HasSuffix(got, "\nlast\n") {
		t.Errorf("the log begins with %.10q and ends with %q", got, got[max(0, len(got)-20):])
	}
}

// TestExecEndsThroughAFlood: who outlives a process and writes as fast as it can does not hold up its end.
func TestExecEndsThroughAFlood(t *testing.T) {
	b := newBox(t, sh("sleep 1000")).start()
	p, err := b.rt.Exec(b.ctx(), b.opts.ID, ExecOptions{Process: b.process("sh", "-c", "for i in 1 2 3; do yes & done; sleep 0.2; exit 4")})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Stream().Output(io.Discard, io.Discard) }()
	if exit, err := p.Wait(b.ctx()); err != nil || exit.Code != 4 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the output of a process that has ended goes on")
	}
	p.Stream().Close()
	enginetest.Until(t, "whoever writes to nobody is gone", func() bool {
		return len(must(b.rt.Pids(b.ctx(), b.opts.ID))(t)) == 1
	})
}
