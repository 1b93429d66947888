//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/proto/api"
)

// Whatever changes something on a node is cut off once between any two of its steps, by the death of the daemon: afterwards it has
// happened or has not, can be done again, and has left nothing.

// An operation is something that a user asks for.
type operation struct {
	prepare func(l *lab)
	do      func(ctx context.Context, e *Engine, point func(string)) error
	// happened says whether it has; what is neither is an error of the test.
	happened func(l *lab) bool
	// without are beginnings of names of steps that another operation is interrupted at.
	without []string
}

const (
	interruptOp       = "SHOAL_TEST_INTERRUPT"
	interruptAt       = "SHOAL_TEST_INTERRUPT_AT" // number of the step, from 1
	interruptRegistry = "SHOAL_TEST_INTERRUPT_REGISTRY"
)

// interrupt is the life of a daemon that dies at a step of an operation.
func interrupt(name string) {
	op := operations()[name]
	at, _ := strconv.Atoi(os.Getenv(interruptAt))
	cfg := labConfig(os.Getenv(crashDir), os.Getenv(crashShim))
	var armed atomic.Bool
	var steps atomic.Int32
	cfg.FaultPoint = func(point string) {
		skipped := slices.ContainsFunc(op.without, func(prefix string) bool { return strings.HasPrefix(point, prefix) })
		if armed.Load() && !skipped && steps.Add(1) == int32(at) {
			fmt.Fprint(os.Stderr, point)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	ctx := context.Background()
	e, err := Open(ctx, cfg)
	if err == nil {
		go e.Run(ctx)
		armed.Store(true)
		err = op.do(ctx, e, cfg.FaultPoint)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: kills some hundred processes, which the race detector sees nothing of")
	}
	for name, op := range operations() {
		if slow := os.Getenv(enginetest.ShimEnv) != ""; slow && !slices.Contains([]string{"pause", "commit", "update"}, name) {
			continue // in a virtual machine: what differs between versions of control groups
		}
		t.Run(name, func(t *testing.T) {
			if name == "pull" {
				registry := enginetest.Registry(t)
				t.Setenv(interruptRegistry, registry)
				enginetest.Push(t, registry+"/two:1", enginetest.Tar(t), tarOf("more", strings.Repeat("x", 100<<10)))
			}
			l := openLab(t)
			steps := 0
			for l.interruptedAt(name, op, steps+1) {
				steps++
			}
			t.Logf("%d steps", steps)
			if steps < 1 {
				t.Error("there is nothing that could be interrupted")
			}
		})
	}
}

// interruptedAt kills a daemon at the nth step of an operation; false if it has fewer.
func (l *lab) interruptedAt(name string, op operation, n int) bool {
	t := l.t
	t.Helper()
	if op.prepare != nil {
		op.prepare(l)
	}
	l.close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), interruptOp+"="+name, interruptAt+"="+strconv.Itoa(n), crashDir+"="+l.dir, crashShim+"="+enginetest.Shim(t))
	out, err := cmd.CombinedOutput()
	l.open()
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if err != nil && !killed {
		t.Fatalf("step %d: %v: %s", n, err, out)
	}
	where := fmt.Sprintf("step %d, %s", n, out)
	happened := op.happened(l)
	l.whole()
	if !killed && !happened {
		t.Error("it has not happened although nothing was in its way")
	}
	if !happened {
		if err := op.do(l.ctx(), l.Engine, func(string) {}); err != nil {
			t.Errorf("%s: once more: %v", where, err)
		}
		if l.pulling = false; !op.happened(l) {
			t.Errorf("%s: it has not happened at the second attempt", where)
		}
		l.whole()
	}
	if t.Failed() {
		t.Fatalf("after %s (it had happened: %v)", where, happened)
	}
	l.pulling = false
	l.reset()
	return killed
}

// reset makes a lab as openLab made it.
func (l *lab) reset() {
	l.t.Helper()
	for _, c := range l.all() {
		l.must(l.Remove(l.ctx(), c.id, true, true))
	}
	_, err := l.Prune(l.ctx(), &api.PruneRequest{AllVolumes: true, Networks: true})
	l.must(err)
	images, err := l.Images().List(l.ctx())
	l.must(err)
	for _, img := range images {
		if !slices.Contains(img.Tags, "box:1") {
			_, err := l.Images().Remove(l.ctx(), img.Id, true)
			l.must(err)
		}
	}
	_, err = l.Images().Remove(l.ctx(), "two:1", true) // may be one more name of box:1
	if err != nil && !errors.Is(err, image.ErrNotFound) {
		l.t.Fatal(err)
	}
	l.whole()
	images, err = l.Images().List(l.ctx())
	l.must(err)
	if bytes, err := l.Images().LayerBytes(); err != nil || len(images) != 1 || bytes != images[0].Size {
		l.t.Fatalf("layers are said to take %d bytes, there is %v: %v", bytes, images, err)
	}
}

// slowly tells of the first reads and writes, so that a daemon can die in the middle of a stream.
type slowly struct {
	io.Reader
	io.Writer
	point func(string)
	done  int
}

func (s *slowly) step(name string) {
	if s.done++; s.done <= 3 {
		s.point(name)
	}
}

func (s *slowly) Read(b []byte) (int, error) {
	s.step("stream.read")
	return s.Reader.Read(b)
}

func (s *slowly) Write(b []byte) (int, error) {
	s.step("stream.write")
	return s.Writer.Write(b)
}
