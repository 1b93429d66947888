//go:build linux

package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/volume/plugin"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestMain(m *testing.M) {
	if point := os.Getenv(crashEnv); point != "" {
		crash(point)
	}
	if name := os.Getenv(interruptOp); name != "" {
		interrupt(name)
	}
	enginetest.Main(m)
}

// lab is an engine with the image box:1, and what its host looked like before.
type lab struct {
	*Engine
	t    *testing.T
	dir  string
	stop func() // ends Run

	pulling bool  // a pull was cut off: what it has fetched may be there
	before  int32 // a process
}

func openLab(t *testing.T) *lab {
	t.Helper()
	enginetest.NeedRoot(t)
	dir, err := os.MkdirTemp("", "shoal-engine-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something is still mounted or busy: %v", err)
		}
	})
	l := &lab{t: t, dir: dir}
	l.open()
	if _, err := l.Images().Import(l.ctx(), bytes.NewReader(enginetest.Tar(t)), image.ImportOptions{Ref: "box:1"}, func(*api.ImageProgress) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.empty)
	return l
}

func labConfig(dir, shim string) Config {
	return Config{
		DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run"), Hostname: "host",
		CgroupParent: filepath.Base(dir), ShimPath: shim, Logger: slog.New(slog.DiscardHandler),
		Plugins:     plugin.Dirs{Sockets: filepath.Join(dir, "plugins"), Specs: []string{filepath.Join(dir, "specs")}},
		CDISpecDirs: []string{filepath.Join(dir, "cdi")},
	}
}

// open opens the engine, as a daemon does when it starts.
func (l *lab) open() {
	l.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	e, err := Open(ctx, labConfig(l.dir, enginetest.Shim(l.t)))
	if err != nil {
		stop()
		l.t.Fatal(err)
	}
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		e.Run(ctx)
	}()
	l.Engine, l.stop = e, func() { stop(); <-ran }
}

// close ends it, as a daemon that stops does. Containers go on.
func (l *lab) close() {
	l.stop()
	l.Engine.Close()
}

// reopen is a restart of the daemon.
func (l *lab) reopen() {
	l.t.Helper()
	l.close()
	l.open()
}

// empty removes all containers and checks that the host is as it was.
func (l *lab) empty() {
	defer l.close()
	all, err := l.List(l.ctx(), &api.ListContainersRequest{All: true})
	if err != nil {
		l.t.Error(err)
	}
	for _, c := range all {
		if err := l.Remove(l.ctx(), c.Id, true, true); err != nil {
			l.t.Error(err)
		}
	}
	if left := l.traces(); len(left) > 0 {
		l.t.Errorf("left behind: %v", left)
	}
}

// traces are what containers could have left: processes, cgroups, mounts, files, links.
func (l *lab) traces() []string {
	lines := enginetest.Processes(l.dir)
	lines = append(lines, l.cgroups()...)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], l.dir) {
			lines = append(lines, "mount "+f[4])
		}
	}
	for _, dir := range []string{"data/containers", "run/bundles", "run/netns", "run/userns", "run/shims"} {
		entries, _ := os.ReadDir(filepath.Join(l.dir, dir))
		for _, e := range entries {
			lines = append(lines, dir+"/"+e.Name())
		}
	}
	snapshots, err := l.cfg.Snapshots.List(l.ctx())
	if err != nil {
		l.t.Error(err)
	}
	for _, s := range snapshots {
		if s.Active {
			lines = append(lines, "snapshot "+s.Key)
		}
	}
	volumes, err := l.cfg.Volumes.List(l.ctx())
	if err != nil {
		l.t.Error(err)
	}
	for _, v := range volumes {
		if v.Anonymous {
			lines = append(lines, "volume "+v.Name)
		}
	}
	lines = append(lines, veths(l.t)...)
	slices.Sort(lines)
	return lines
}

// veths are the host's ends of containers' interfaces. It waits for those that are down, which are on their way out.
func veths(t testing.TB) (lines []string) {
	t.Helper()
	enginetest.Until(t, "interfaces that are down are gone", func() bool {
		lines = nil
		down := false
		links, _ := netlink.LinkList()
		for _, k := range links {
			if k.Type() == "veth" {
				lines = append(lines, "link "+k.Attrs().Name)
				down = down || k.Attrs().Flags&net.FlagUp == 0
			}
		}
		return !down
	})
	return lines
}

// cgroups are the containers' groups in every hierarchy.
func (l *lab) cgroups() []string {
	all := enginetest.Cgroups(filepath.Base(l.dir) + "/*")
	return slices.DeleteFunc(all, func(path string) bool { return !isID(filepath.Base(path)) })
}

func (l *lab) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	l.t.Cleanup(cancel)
	return ctx
}

// request is a container of box:1 that runs a script, without a network.
func request(name, script string) *api.CreateContainerRequest {
	return &api.CreateContainerRequest{Name: name, NetworkMode: NetworkNone, Spec: &api.ContainerSpec{Image: "box:1", Args: []string{"sh", "-c", script}}}
}

func (l *lab) create(r *api.CreateContainerRequest) string {
	l.t.Helper()
	row, err := l.Create(l.ctx(), CreateOptions{Request: r})
	if err != nil {
		l.t.Fatal(err)
	}
	return row.Id
}

// run creates and starts.
func (l *lab) run(r *api.CreateContainerRequest) string {
	l.t.Helper()
	id := l.create(r)
	if err := l.Start(l.ctx(), id); err != nil {
		l.t.Fatal(err)
	}
	return id
}

// ready runs a container and waits until it says so, at the end of what it begins with.
func (l *lab) ready(r *api.CreateContainerRequest) string {
	l.t.Helper()
	id := l.run(r)
	l.says(id, "ready\n")
	return id
}

// says waits for the end of what a container has written.
func (l *lab) says(ref, end string) {
	l.t.Helper()
	enginetest.Until(l.t, fmt.Sprintf("%s says %q", ref, end), func() bool { return strings.HasSuffix(l.logs(ref), end) })
}

// touch makes a file in a running container from outside: an exec that ends a container by it may be told that it does not run.
func (l *lab) touch(ref, path string) {
	l.t.Helper()
	l.must(os.WriteFile(fmt.Sprintf("/proc/%d/root%s", l.row(ref).Pid, path), nil, 0o600))
}

func (l *lab) row(ref string) *api.Container {
	l.t.Helper()
	row, err := l.Inspect(l.ctx(), ref)
	if err != nil {
		l.t.Fatal(err)
	}
	return row
}

func (l *lab) ended(ref string) *api.Container {
	l.t.Helper()
	row, err := l.Wait(l.ctx(), ref, WaitNotRunning)
	if err != nil {
		l.t.Fatal(err)
	}
	return row
}

func (l *lab) logs(ref string) string {
	l.t.Helper()
	var out strings.Builder
	err := l.Logs(l.ctx(), ref, &api.LogOptions{Tail: -1}, func(line *api.LogLine) error {
		out.Write(line.Data)
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return out.String()
}

// exec runs a script in a container and returns both streams together.
func (l *lab) exec(ref, script string) string {
	l.t.Helper()
	p, err := l.Exec(l.ctx(), &api.ExecOpen{Ref: ref, Command: []string{"sh", "-c", script}})
	if err != nil {
		l.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := p.Stream().Output(&out, &out); err != nil {
		l.t.Fatal(err)
	}
	if exit, err := p.Wait(l.ctx()); err != nil || exit.Code != 0 {
		l.t.Fatalf("exec %q: %+v, %v: %s", script, exit, err, out.String())
	}
	return out.String()
}

// until waits for a row to be as it should.
func (l *lab) until(ref, what string, ok func(*api.Container) bool) {
	l.t.Helper()
	enginetest.Until(l.t, fmt.Sprintf("%s is %s", ref, what), func() bool { return ok(l.row(ref)) })
}
