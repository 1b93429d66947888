//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/userns"
	"github.com/shoal-dev/shoal/proto/api"
)

// A daemon that is killed at any point of a container's start leaves nothing behind that the next one does not find: the
// container is there as a whole, or not at all.

// crashEnv names, for a process of this test, the point at which it kills itself. crashDir and crashShim say where it works, crashUser
// the container's userns mode, crashDriver a volume driver to use besides.
const (
	crashEnv    = "SHOAL_TEST_CRASH_AT"
	crashDir    = "SHOAL_TEST_CRASH_DIR"
	crashShim   = "SHOAL_TEST_CRASH_SHIM"
	crashUser   = "SHOAL_TEST_CRASH_USERNS"
	crashDriver = "SHOAL_TEST_CRASH_DRIVER"
)

// crash is the life of that process.
func crash(point string) {
	cfg := labConfig(os.Getenv(crashDir), os.Getenv(crashShim))
	cfg.FaultPoint = func(name string) {
		if name == point {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	ctx := context.Background()
	e, err := Open(ctx, cfg)
	if err == nil {
		r := request("victim", "echo started; sleep 1000")
		r.NetworkMode = NetworkBridge
		r.Spec.IpcMode, r.Spec.UsernsMode = "shareable", os.Getenv(crashUser)
		r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Target: "/anonymous"}, {Type: api.Mount_VOLUME, Source: "named", Target: "/etc"},
			{Type: api.Mount_VOLUME, Source: "memory", Target: "/memory", DriverOpts: map[string]string{"type": "tmpfs"}}}
		if r.Spec.UsernsMode != "" && !tmpfsShowsOwners(cfg.RunDir) {
			r.Spec.Mounts[2].DriverOpts = nil
		}
		if d := os.Getenv(crashDriver); d != "" {
			r.Spec.Mounts = append(r.Spec.Mounts, &api.Mount{Type: api.Mount_VOLUME, Source: "remote", Target: "/remote", Driver: d})
		}
		var row *api.Container
		if row, err = e.Create(ctx, CreateOptions{Request: r}); err == nil {
			err = e.Start(ctx, row.Id)
		}
		if err == nil {
			err = moveVictim(ctx, e)
		}
		if err == nil {
			err = inheritVolumes(ctx, e)
		}
	}
	fmt.Fprintln(os.Stderr, "the fault point was not reached:", err)
	os.Exit(1)
}

// tmpfsShowsOwners: before Linux 6.3 a tmpfs cannot be mounted with other owners, as containers with users of their own need it.
func tmpfsShowsOwners(dir string) bool {
	at := filepath.Join(dir, "probe")
	ns, err := userns.Make(userns.Range{Base: 500000, Size: 65536}, false)
	if err != nil || os.MkdirAll(at, 0o700) != nil || unix.Mount("tmpfs", at, "tmpfs", 0, "") != nil {
		return false
	}
	defer os.Remove(at)
	defer unix.Unmount(at, unix.MNT_DETACH)
	defer ns.Close()
	tree, err := userns.Map(at, ns.User, false)
	if err != nil {
		return false
	}
	return tree.Close() == nil
}

// faultPoints names the points of a container's start at which Config.FaultPoint is called, in order.
func faultPoints() []string {
	e := &Engine{}
	names := []string{"create.row"}
	for _, s := range e.createSteps() {
		names = append(names, "create."+s.name)
	}
	names = append(names, "create.netns", "create.commit")
	for _, s := range e.startSteps() {
		names = append(names, "start."+s.name)
	}
	return append(names, "start.process", "start.running")
}

func TestKilledAtEveryPoint(t *testing.T) {
	if len(faultPoints()) < 12 {
		t.Errorf("only %d points: %v", len(faultPoints()), faultPoints())
	}
	for _, point := range faultPoints() {
		t.Run(point, func(t *testing.T) { killedAt(t, point, "") })
	}
	for _, point := range []string{"start.userns", "start.netns", "start.rootfs", "start.binds", "start.runtime", "start.running"} {
		t.Run(point+" with its own users", func(t *testing.T) { killedAt(t, point, usernsAuto) })
	}
}

func killedAt(t *testing.T, point, userns string) {
	l := openLab(t)
	l.killAt(point, userns)
	l.checkVictim(point)
}

// inheritVolumes makes a container with the volumes of another that never ran.
func inheritVolumes(ctx context.Context, e *Engine) error {
	holder := request("holder", "true")
	holder.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Source: "held", Target: "/etc"}, {Type: api.Mount_VOLUME, Source: "vanishing", Target: "/v", DriverOpts: map[string]string{"type": "tmpfs"}}}
	if _, err := e.Create(ctx, CreateOptions{Request: holder}); err != nil {
		return err
	}
	heir := request("heir", "true")
	heir.VolumesFrom = []string{"holder"}
	_, err := e.Create(ctx, CreateOptions{Request: heir})
	return err
}

// moveVictim takes it from one network to another while it runs.
func moveVictim(ctx context.Context, e *Engine) error {
	if _, err := e.CreateNetwork(ctx, &api.LocalNetwork{Name: "second"}); err != nil {
		return err
	}
	if err := e.Connect(ctx, "victim", &api.LocalNetworkAttachment{Network: "second"}); err != nil {
		return err
	}
	return e.Disconnect(ctx, "victim", NetworkBridge, false)
}

// Killed while its networks change, a container has after the restart what its row says, and nothing else.
func TestKilledBetweenNetworks(t *testing.T) {
	for point, want := range map[string][]string{
		"connect.row": {NetworkBridge, "second"}, "networks.links": {NetworkBridge, "second"}, "networks.names": {NetworkBridge, "second"},
		"disconnect.row": {"second"},
	} {
		t.Run(point, func(t *testing.T) {
			l := openLab(t)
			l.killAt(point, "")
			row := l.row("victim")
			var got []string
			for _, ep := range row.Endpoints {
				got = append(got, ep.Network)
			}
			if !slices.Equal(got, want) || len(row.Networks) != len(want) {
				t.Errorf("networks %v, %v; want %v", got, row.Networks, want)
			}
			l.wantInside("victim")
			if veths := len(veths(t)); veths != len(want) {
				t.Errorf("%d interfaces of the host, want %d", veths, len(want))
			}
			if got := l.resolve("victim", "victim.second"); got != l.v4("victim", "second") {
				t.Errorf("its name means %q", got)
			}
			if l.exec("victim", "ip route | grep -c ^default") != "1\n" {
				t.Error("it has not one way out")
			}
		})
	}
}

// killAt lets another daemon run into its end, and takes over.
func (l *lab) killAt(point, userns string, env ...string) {
	t := l.t
	t.Helper()
	l.close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashEnv+"="+point, crashDir+"="+l.dir, crashShim+"="+enginetest.Shim(t), crashUser+"="+userns)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v: %s", err, out)
	}
	l.open()
}

// checkVictim expects all of the container or nothing, and that it can be used as any other.
func (l *lab) checkVictim(point string) {
	l.t.Helper()
	row, err := l.Inspect(l.ctx(), "victim")
	made := !strings.HasPrefix(point, "create.") || point == "create.commit"
	if !made {
		if !errors.Is(err, ErrNotFound) {
			l.t.Fatalf("found a container that was not made: %v, %v", row, err)
		}
		if left := l.traces(); len(left) > 0 {
			l.t.Errorf("left behind: %v", left)
		}
		l.run(request("victim", "true"))
		return
	}
	if err != nil {
		l.t.Fatal(err)
	}
	switch running := row.State == api.ContainerState_CONTAINER_RUNNING; {
	case (point == "start.process" || point == "start.running") && !running:
		l.t.Errorf("the container ran when the daemon was killed, now it is %s", stateName(row.State))
	case !running && row.State != api.ContainerState_CREATED:
		l.t.Errorf("state %s, want created", stateName(row.State))
	}
	if err := l.Start(l.ctx(), "victim"); err != nil {
		l.t.Fatal(err)
	}
	enginetest.Until(l.t, "its output is in the log", func() bool { return l.logs("victim") == "started\n" })
	memory := "tmpfs"
	if row.Spec.UsernsMode != "" && !tmpfsShowsOwners(l.dir) {
		memory = ""
	}
	l.exec("victim", "ip addr show eth0 && mount | grep -q anonymous && mount | grep -q 'on /memory type "+memory+"' && test -f /etc/passwd")
}

// Killed again and again under load: no container is lost, no exit code is lost, nothing is left.
func TestKilledUnderLoad(t *testing.T) {
	l := openLab(t)
	keep := l.run(request("keep", "while true; do sleep 0.1; done"))
	pid := l.row(keep).Pid
	for i := range 20 {
		code := i % 5
		id := l.run(request("", fmt.Sprintf("sleep 0.0%d; exit %d", i%7, code)))
		l.reopen()
		if row := l.ended(id); row.ExitCode != int32(code) || row.Error != "" {
			t.Errorf("run %d: exit code %d (%s), want %d", i, row.ExitCode, row.Error, code)
		}
	}
	if row := l.row(keep); row.Pid != pid || row.State != api.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container that was to be left alone: %v", row)
	}
}

func TestEndsWhileNoDaemonRuns(t *testing.T) {
	l := openLab(t)
	id := l.run(request("", "until test -e /go; do sleep 0.01; done; echo last words; exit 9"))
	pid := int(l.row(id).Pid)
	l.close()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/go", pid), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "it has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	l.open()
	if row := l.ended(id); row.ExitCode != 9 || time.Since(row.FinishedAt.AsTime()) > time.Minute || l.logs(id) != "last words\n" {
		t.Errorf("row %v, log %q", row, l.logs(id))
	}
}
