//go:build linux

package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/seccomp"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/proto/api"
)

// bundle is a container whose only command opens a pipe that the benchmark waits on: Docker's seccomp profile, default
// capabilities and masks, limits for memory, CPU and processes.
type bundle struct {
	dir, fifo string
	spec      *specs.Spec
}

func newBundle(b *testing.B) bundle {
	b.Helper()
	enginetest.NeedRoot(b)
	dir := b.TempDir()
	root := filepath.Join(dir, "rootfs")
	if err := os.Rename(enginetest.Rootfs(b), root); err != nil {
		b.Fatal(err)
	}
	fifo := filepath.Join(root, "fifo")
	if err := unix.Mkfifo(fifo, 0o666); err != nil {
		b.Fatal(err)
	}
	sp, err := spec.Build(spec.Options{
		Spec: &api.ContainerSpec{
			Args:   []string{"/bin/cp", "/dev/null", "/fifo"},
			Limits: &api.ContainerLimits{MemoryBytes: 64 << 20, NanoCpus: 2e9, Pids: 100},
		},
		RootPath: root, Hostname: "bench", Seccomp: seccomp.Default,
	})
	if err != nil {
		b.Fatal(err)
	}
	return bundle{dir, fifo, sp}
}

// runDir is in memory, as /run is.
func runDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shoal-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (d bundle) write(b *testing.B) {
	b.Helper()
	data, err := json.Marshal(d.spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.dir, "config.json"), data, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// first calls start and returns how long it took until the command opened its pipe.
func (d bundle) first(b *testing.B, start func() error) time.Duration {
	b.Helper()
	opened := make(chan time.Time, 1)
	go func() {
		f, err := os.Open(d.fifo)
		opened <- time.Now()
		if err == nil {
			f.Close()
		}
	}()
	began := time.Now()
	if err := start(); err != nil {
		b.Fatal(err)
	}
	select {
	case at := <-opened:
		return at.Sub(began)
	case <-time.After(10 * time.Second):
		b.Fatal("the command did not run")
		return 0
	}
}

const firstInstruction = "first-instruction-ns/op"

// BenchmarkStart is from the call of Create to the command's first instructions.
func BenchmarkStart(b *testing.B) {
	d := newBundle(b)
	d.write(b)
	rt, err := New(Config{RunDir: runDir(b), ShimPath: enginetest.Shim(b), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close()
	ctx := context.Background()
	var times []time.Duration
	for b.Loop() {
		cid := id.NewHex()
		o := CreateOptions{ID: cid, Bundle: d.dir, Log: LogConfig{Driver: "none"}, CgroupPath: fmt.Sprintf("shoal-bench-%d/%s", os.Getpid(), cid)}
		times = append(times, d.first(b, func() error {
			if _, err := rt.Create(ctx, o); err != nil {
				return err
			}
			return rt.Start(ctx, cid)
		}))
		b.StopTimer()
		if _, err := rt.Wait(ctx, cid); err != nil {
			b.Fatal(err)
		}
		if err := rt.Delete(ctx, cid); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(median(times)), firstInstruction)
}

// BenchmarkStartCrun is the same bundle started by Debian's crun, which has no time namespace and refuses hybrid
// cgroups: it runs where the empty version 2 tree is not mounted.
func BenchmarkStartCrun(b *testing.B) {
	crun, err := exec.LookPath("crun")
	if err != nil {
		b.Skip("SKIPPED: no crun here: apt-get install crun")
	}
	d := newBundle(b)
	d.spec.Version = "1.0.0"
	d.spec.Linux.CgroupsPath = fmt.Sprintf("/shoal-bench-%d/crun", os.Getpid())
	d.spec.Linux.Namespaces = slices.DeleteFunc(d.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	d.write(b)
	root := runDir(b)
	leave := withoutUnified(b)
	defer leave()
	var times []time.Duration
	for b.Loop() {
		cmd := exec.Command(crun, "--root", root, "--cgroup-manager", "cgroupfs", "run", "--bundle", d.dir, "bench")
		cmd.Stderr = os.Stderr
		times = append(times, d.first(b, cmd.Start))
		b.StopTimer()
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(median(times)), firstInstruction)
	for _, dir := range must2(filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/shoal-bench-%d", os.Getpid()))) {
		os.Remove(dir)
	}
}

func must2[T any](v T, _ error) T { return v }

// withoutUnified gives this goroutine's thread a mount namespace without the version 2 tree. The thread ends with it.
func withoutUnified(b *testing.B) (leave func()) {
	b.Helper()
	goruntime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		b.Fatal(err)
	}
	return func() {} // still locked: the runtime ends the thread
}

// BenchmarkExec is one more process in a running container, until it has ended.
func BenchmarkExec(b *testing.B) {
	d := newBundle(b)
	d.spec.Process.Args = []string{"/bin/sleep", "1000"}
	d.write(b)
	rt, err := New(Config{RunDir: runDir(b), ShimPath: enginetest.Shim(b), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close()
	ctx, cid := context.Background(), id.NewHex()
	o := CreateOptions{ID: cid, Bundle: d.dir, Log: LogConfig{Driver: "none"}, CgroupPath: fmt.Sprintf("shoal-bench-%d/%s", os.Getpid(), cid)}
	if _, err := rt.Create(ctx, o); err != nil {
		b.Fatal(err)
	}
	defer rt.Delete(ctx, cid)
	if err := rt.Start(ctx, cid); err != nil {
		b.Fatal(err)
	}
	proc := *d.spec.Process
	proc.Args = []string{"/bin/true"}
	for b.Loop() {
		p, err := rt.Exec(ctx, cid, ExecOptions{Process: &proc})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			b.Fatal(err)
		}
		p.Stream().Close()
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
