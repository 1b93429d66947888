//go:build linux

package runtime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/seccomp"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestMain(m *testing.M) {
	code := m.Run()
	enginetest.Cleanup()
	os.Exit(code)
}

// box is a runtime with a container in it.
type box struct {
	t    *testing.T
	rt   *Shoal
	dir  string
	spec *specs.Spec
	opts CreateOptions
}

var boxes atomic.Int32

// newBox makes the bundle of a container; change may alter its configuration before it is written.
func newBox(t *testing.T, s *api.ContainerSpec, change ...func(*specs.Spec)) *box {
	t.Helper()
	enginetest.NeedRoot(t)
	b := &box{t: t, dir: t.TempDir()}
	b.rt = b.open()
	bundle := filepath.Join(b.dir, "bundle")
	if err := os.Mkdir(bundle, 0o755); err != nil {
		t.Fatal(err)
	}
	cid := id.NewHex()
	sp, err := spec.Build(spec.Options{
		ID: cid, Spec: s, RootPath: enginetest.Rootfs(t), Hostname: "box", CustomSeccomp: seccomp.Load, Seccomp: seccomp.Default,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(sp)
	}
	b.spec = sp
	b.opts = CreateOptions{
		ID: cid, Bundle: bundle, Init: s.Init, OpenStdin: s.OpenStdin,
		Log:        LogConfig{Driver: "json-file", Path: filepath.Join(b.dir, "log"), MaxFiles: 1},
		CgroupPath: fmt.Sprintf("shoal-test-%d/%d", os.Getpid(), boxes.Add(1)),
	}
	b.write()
	t.Cleanup(b.remove)
	return b
}

// write puts the configuration into the bundle.
func (b *box) write() {
	b.t.Helper()
	data, err := json.Marshal(b.spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.opts.Bundle, "config.json"), data, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// open is a runtime as a daemon that has just been started has it.
func (b *box) open() *Shoal {
	b.t.Helper()
	rt, err := New(Config{RunDir: filepath.Join(b.dir, "run"), ShimPath: enginetest.Shim(b.t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { rt.Close() })
	return rt
}

// remove deletes the container and checks that nothing of it is left.
func (b *box) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.rt.Delete(ctx, b.opts.ID); err != nil {
		b.t.Error("delete:", err)
	}
	if _, err := b.rt.State(ctx, b.opts.ID); !errors.Is(err, ErrNotFound) {
		b.t.Errorf("state after delete: %v, want %v", err, ErrNotFound)
	}
	if left := enginetest.Cgroups(b.opts.CgroupPath); len(left) > 0 {
		b.t.Errorf("cgroups left: %v", left)
	}
	if left := enginetest.Processes(b.opts.ID); len(left) > 0 {
		b.t.Errorf("processes left: %v", left)
	}
}

func (b *box) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *box) create() State {
	b.t.Helper()
	st, err := b.rt.Create(b.ctx(), b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

func (b *box) start() *box {
	b.t.Helper()
	b.create()
	if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
		b.t.Fatal(err)
	}
	return b
}

func (b *box) wait() Exit {
	b.t.Helper()
	exit, err := b.rt.Wait(b.ctx(), b.opts.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return exit
}

func (b *box) state() State {
	b.t.Helper()
	st, err := b.rt.State(b.ctx(), b.opts.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// logged is what the container has written, both streams.
func (b *box) logged() string {
	b.t.Helper()
	data, err := os.ReadFile(b.opts.Log.Path)
	if err != nil {
		b.t.Fatal(err)
	}
	var out strings.Builder
	data = data[:bytes.LastIndexByte(data, '\n')+1] // of a line that is being written, part may be there
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		var line struct{ Log string }
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			b.t.Fatalf("log line %q: %v", sc.Text(), err)
		}
		out.WriteString(line.Log)
	}
	return out.String()
}

// sh is a container that runs a shell script.
func sh(script string) *api.ContainerSpec {
	return &api.ContainerSpec{Args: []string{"sh", "-c", script}}
}

// output runs a container to its end and returns what it wrote. It must succeed.
func output(t *testing.T, s *api.ContainerSpec, change ...func(*specs.Spec)) string {
	t.Helper()
	b := newBox(t, s, change...).start()
	if exit := b.wait(); exit.Code != 0 {
		t.Fatalf("%v: exit code %d (%s), output:\n%s", s.Args, exit.Code, exit.Error, b.logged())
	}
	return b.logged()
}

// exec runs one more command and returns its streams and exit.
func (b *box) exec(o ExecOptions, stdin string) (stdout, stderr string, exit Exit) {
	b.t.Helper()
	if o.Process == nil {
		b.t.Fatal("exec without a process")
	}
	p, err := b.rt.Exec(b.ctx(), b.opts.ID, o)
	if err != nil {
		b.t.Fatal(err)
	}
	if in := p.Stream().Stdin(); in != nil {
		go func() {
			in.Write([]byte(stdin))
			in.Close()
		}()
	}
	var out, errs bytes.Buffer
	if err := p.Stream().Output(&out, &errs); err != nil {
		b.t.Fatal(err)
	}
	exit, err = p.Wait(b.ctx())
	if err != nil {
		b.t.Fatal(err)
	}
	return out.String(), errs.String(), exit
}

// process is the container's own with another command.
func (b *box) process(args ...string) *specs.Process {
	p := *b.spec.Process
	p.Args, p.Terminal = args, false
	return &p
}

// startAttached starts a container that has been created, with a connection to its streams that misses nothing.
func (b *box) startAttached() Stream {
	b.t.Helper()
	st, err := b.rt.Attach(b.ctx(), b.opts.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { st.Close() })
	if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
		b.t.Fatal(err)
	}
	return st
}
