//go:build linux

package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/proto/api"
)

func volumeAt(source, target string) *api.Mount {
	return &api.Mount{Type: api.Mount_VOLUME, Source: source, Target: target}
}

func withMounts(name, script string, mounts ...*api.Mount) *api.CreateContainerRequest {
	r := request(name, script)
	r.Spec.Mounts = mounts
	return r
}

// A volume that lives in memory is there from its first running container to its last, whatever the daemon does.
func TestVolumeIsMountedWhileUsed(t *testing.T) {
	l := openLab(t)
	v, err := l.CreateVolume(l.ctx(), &api.Volume{Name: "memory", Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when string, want bool) {
		t.Helper()
		if got := mounted(v.Mountpoint); got != want {
			t.Errorf("%s: mounted %v, want %v", when, got, want)
		}
	}
	first := l.create(withMounts("first", "echo x >/m/file; sleep 1000", volumeAt("memory", "/m"), volumeAt("memory", "/again")))
	expect("created", false)
	if err := l.Start(l.ctx(), first); err != nil {
		t.Fatal(err)
	}
	expect("one runs", true)
	l.exec(first, "until test -s /m/file; do sleep 0.01; done")
	second := l.run(withMounts("second", "sleep 1000", volumeAt("memory", "/m")))
	l.reopen()
	if err := l.Remove(l.ctx(), first, true, true); err != nil {
		t.Fatal(err)
	}
	expect("the first is gone", true)
	if got := l.exec(second, "cat /m/file"); got != "x\n" {
		t.Errorf("the second sees %q", got)
	}
	if err := l.RemoveVolume(l.ctx(), "memory", true); !errors.Is(err, volume.ErrInUse) || !strings.Contains(err.Error(), "second") {
		t.Errorf("removed while used: %v", err)
	}
	if err := l.Kill(l.ctx(), second, "KILL"); err != nil {
		t.Fatal(err)
	}
	l.ended(second)
	expect("all have ended", false)
	if err := l.RemoveVolume(l.ctx(), "memory", true); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("removed while a container has it: %v", err)
	}
	if err := l.Remove(l.ctx(), second, false, true); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveVolume(l.ctx(), "memory", false); err != nil {
		t.Error(err)
	}
}

// A mount that cannot be made is one line that says which, and the container can be started when it can.
func TestVolumeThatCannotBeMounted(t *testing.T) {
	l := openLab(t)
	source := t.TempDir() + "/later"
	m := volumeAt("bound", "/b")
	m.DriverOpts = map[string]string{"type": "none", "o": "bind", "device": source}
	id := l.create(withMounts("", "echo x >/b/file", m))
	err := l.Start(l.ctx(), id)
	if err == nil || !strings.Contains(err.Error(), "bound") || !strings.Contains(err.Error(), source) || strings.Contains(err.Error(), "\n") {
		t.Errorf("start: %v", err)
	}
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	l.ended(id)
	if b, err := os.ReadFile(source + "/file"); err != nil || string(b) != "x\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// Whoever comes first, a container that was created has its volumes, and what is in use is not removed.
func TestVolumeRemovedWhileContainerIsCreated(t *testing.T) {
	l := openLab(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := l.RemoveVolume(l.ctx(), "contested", true); err != nil && !errors.Is(err, volume.ErrInUse) {
					t.Error(err)
				}
			}
		}
	})
	for range 30 {
		id := l.create(withMounts("", "true", volumeAt("contested", "/c")))
		if _, err := l.VolumeStore().Get(l.ctx(), "contested"); err != nil {
			t.Errorf("a created container's volume: %v", err)
		}
		if err := l.Remove(l.ctx(), id, false, true); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}

// A volume whose name is as long as a made-up one's is not anonymous when somebody named it.
func TestNamedLikeAnonymous(t *testing.T) {
	l := openLab(t)
	v, err := l.CreateVolume(l.ctx(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := withMounts("", "echo kept >/d/file", volumeAt(v.Name, "/d"))
	l.ended(l.run(r))
	for _, c := range []*api.Container{l.row(l.all()[0].id)} {
		if err := l.Remove(l.ctx(), c.Id, true, true); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(v.Mountpoint, "file")); err != nil || string(b) != "kept\n" {
		t.Errorf("after 'rm -v': %q, %v", b, err)
	}
	if err := l.RemoveVolume(l.ctx(), v.Name, false); err != nil {
		t.Error(err)
	}
}

// --volumes-from: all mounts as the other container has them, or read-only; of one that never ran, filled from its image.
func TestVolumesFrom(t *testing.T) {
	l := openLab(t)
	dir := t.TempDir()
	put := volumeAt("sub", "/sub")
	l.ended(l.run(withMounts("", "mkdir /sub/a; echo a >/sub/a/file", put)))
	sub := volumeAt("sub", "/only")
	sub.Subpath = "a"
	l.create(withMounts("holder", "true", volumeAt("", "/bin"), sub, &api.Mount{Type: api.Mount_BIND, Source: dir, Target: "/bound"}))
	r := request("", "echo 1; cat /only/file; touch /bound/x; touch /bin/x")
	r.VolumesFrom = []string{"holder:ro"}
	id := l.ended(l.run(r)).Id
	if got := l.logs(id); !strings.HasPrefix(got, "1\na\n") || strings.Count(got, "Read-only file system") != 2 {
		t.Errorf("read-only: %q", got)
	}
	r.VolumesFrom = []string{"holder"}
	r.Spec.Args[2] = "touch /bound/x /bin/x && echo ok"
	if got := l.logs(l.ended(l.run(r)).Id); got != "ok\n" {
		t.Errorf("writable: %q", got)
	}
}

// A subpath cannot lead out of its volume, and one that is not there is one clear line.
func TestSubpath(t *testing.T) {
	l := openLab(t)
	l.ended(l.run(withMounts("", "mkdir -p /v/a/b; echo deep >/v/a/b/file; ln -s /etc /v/out; ln -s a/b /v/in; echo f >/v/file", volumeAt("data", "/v"))))
	at := func(sub, script string) (string, error) {
		m := volumeAt("data", "/s")
		m.Subpath = sub
		id := l.create(withMounts("", script, m))
		if err := l.Start(l.ctx(), id); err != nil {
			return "", err
		}
		return l.logs(l.ended(id).Id), nil
	}
	for sub, want := range map[string]string{"a/b": "deep\n", "in": "deep\n", "../../a/b": "deep\n"} {
		if got, err := at(sub, "cat /s/file"); got != want || err != nil {
			t.Errorf("subpath %s: %q, %v", sub, got, err)
		}
	}
	if got, err := at("file", "cat /s"); got != "f\n" || err != nil {
		t.Errorf("a file: %q, %v", got, err)
	}
	for _, sub := range []string{"out", "nope"} {
		if got, err := at(sub, "ls /s"); err == nil || !strings.Contains(err.Error(), "volume data has no "+sub) {
			t.Errorf("subpath %s: %q, %v", sub, got, err)
		}
	}
}

// A read-only bind is read-only all the way down, or as the mount says.
func TestRecursiveReadOnly(t *testing.T) {
	l := openLab(t)
	dir := t.TempDir()
	inner := dir + "/inner"
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", inner, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(inner) })
	if err := os.WriteFile(inner+"/there", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const script = "touch /b/x 2>/dev/null || echo ro; touch /b/inner/x 2>/dev/null || echo inner ro; test -e /b/inner/there || echo not bound"
	for name, tc := range map[string]struct {
		change func(*api.Mount)
		want   string
	}{
		"enabled":  {func(*api.Mount) {}, "ro\ninner ro\n"},
		"readonly": {func(m *api.Mount) { m.ReadOnlyRecursion = "readonly" }, "ro\ninner ro\n"},
		"writable": {func(m *api.Mount) { m.ReadOnlyRecursion = "writable" }, "ro\n"},
		"disabled": {func(m *api.Mount) { m.NonRecursive = true }, "ro\ninner ro\nnot bound\n"},
	} {
		m := &api.Mount{Type: api.Mount_BIND, Source: dir, Target: "/b", ReadOnly: true}
		tc.change(m)
		if got := l.logs(l.ended(l.run(withMounts("", script, m))).Id); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	m := &api.Mount{Type: api.Mount_BIND, Source: dir, Target: "/b", ReadOnlyRecursion: "readonly"}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: withMounts("", "true", m)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("readonly recursion of a writable mount: %v", err)
	}
}

// What is mounted in a shared source arrives in a container (slave), and what a container mounts in the host (shared).
func TestPropagation(t *testing.T) {
	l := openLab(t)
	dir := t.TempDir()
	if err := errors.Join(unix.Mount(dir, dir, "", unix.MS_BIND, ""), unix.Mount("", dir, "", unix.MS_PRIVATE, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountBelow(dir); unmount(dir) })
	for _, sub := range []string{"/host", "/container"} {
		if err := os.Mkdir(dir+sub, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bind := func(propagation string) *api.Mount {
		return &api.Mount{Type: api.Mount_BIND, Source: dir, Target: "/b", Propagation: propagation}
	}
	for _, p := range []string{"rslave", "rshared"} {
		if _, err := l.Create(l.ctx(), CreateOptions{Request: withMounts("", "true", bind(p))}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "--make-rshared") {
			t.Errorf("%s of a private mount: %v", p, err)
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	private, slave := l.run(withMounts("", "sleep 1000", bind(""))), l.run(withMounts("", "sleep 1000", bind("rslave")))
	users := withMounts("", "sleep 1000", bind("rshared"))
	users.Spec.UsernsMode = usernsAuto
	if _, err := l.Create(l.ctx(), CreateOptions{Request: users}); !errors.Is(err, ErrInvalid) {
		t.Errorf("rshared with its own users: %v", err)
	}
	users.Spec.Mounts[0].Propagation = "rslave"
	own := l.run(users)
	shared := withMounts("", "mount -t tmpfs tmpfs /b/container && sleep 1000", bind("rshared"))
	shared.Spec.CapAdd = []string{"SYS_ADMIN"}
	id := l.run(shared)
	if err := unix.Mount("tmpfs", dir+"/host", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	count := func(id string) string {
		return strings.TrimSpace(l.exec(id, "grep -c '/b/' /proc/self/mounts || true"))
	}
	l.exec(id, "while ! grep -q /b/container /proc/self/mounts; do sleep 0.01; done")
	for id, want := range map[string]string{private: "0", slave: "2", own: "2", id: "2"} {
		if got := count(id); got != want {
			t.Errorf("container %.12s sees %s mounts, want %s", id, got, want)
		}
	}
	if err := l.Remove(l.ctx(), own, true, true); err != nil {
		t.Fatal(err)
	}
	if !mounted(dir + "/host") {
		t.Error("the end of a container with its own users unmounted what is the host's")
	}
	if !mounted(dir + "/container") {
		t.Error("the host does not see what a container mounted in a shared bind")
	}
}

// What another runtime than ours makes of mounts.
func TestMountsByRunc(t *testing.T) {
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: runc is not installed")
	}
	l := openLab(t)
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/in", 0o755), os.Mkdir(dir+"/out", 0o755), unix.Mount(dir, dir, "", unix.MS_BIND, ""), unix.Mount("", dir, "", unix.MS_SHARED, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountBelow(dir); unmount(dir) })
	if err := unix.Mount("tmpfs", dir+"/in", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	l.ended(l.run(withMounts("", "mkdir -p /v/a; echo x >/v/a/f", volumeAt("data", "/v"))))
	sub := volumeAt("data", "/s")
	sub.Subpath = "a"
	r := withMounts("", "touch /b/x || touch /b/in/x || cat /s/f; grep -q ' /t .*size=1024k' /proc/mounts && sleep 1000",
		sub, &api.Mount{Type: api.Mount_BIND, Source: dir, Target: "/b", ReadOnly: true, Propagation: "rslave"},
		&api.Mount{Type: api.Mount_TMPFS, Target: "/t", TmpfsSizeBytes: 1 << 20})
	r.Spec.Runtime = "runc"
	id := l.run(r)
	if err := unix.Mount("tmpfs", dir+"/out", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if got := l.exec(id, "cat /s/f; grep -c /b/out /proc/mounts"); got != "x\n1\n" {
		t.Errorf("inside: %q", got)
	}
	enginetest.Until(t, "it has tried", func() bool { // what it says comes by two pipes
		got := l.logs(id)
		return strings.Contains(got, "x\n") && strings.Count(got, "Read-only file system") == 2
	})
}

func TestTmpfsOptions(t *testing.T) {
	l := openLab(t)
	m := &api.Mount{Type: api.Mount_TMPFS, Target: "/t", TmpfsMode: 0o750, TmpfsSizeBytes: 1 << 20, TmpfsOptions: []string{"exec", "uid=7"}}
	id := l.ended(l.run(withMounts("", "cp /bin/sh /t/sh 2>/dev/null; grep ' /t ' /proc/mounts; stat -c %a:%u /t", m))).Id
	got := l.logs(id)
	if strings.Contains(got, "noexec") || !strings.Contains(got, "nosuid") || !strings.Contains(got, "size=1024k") || !strings.HasSuffix(got, "750:7\n") {
		t.Errorf("got %q", got)
	}
}

// 'create -v data:/fresh' and 'cp' fill a volume without ever starting anything, also where the image has no such directory.
func TestCopyIntoVolumeOfCreated(t *testing.T) {
	l := openLab(t)
	bound := t.TempDir()
	m := volumeAt("bound", "/fresh/deep/bound")
	m.DriverOpts = map[string]string{"o": "bind", "device": bound}
	r := withMounts("helper", "true", volumeAt("data", "/fresh/deep"), m)
	r.Spec.ReadOnly = true
	l.create(r)
	for _, dir := range []string{"/fresh/deep", "/fresh/deep/bound"} {
		if err := l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: "helper", Path: dir}, oneFile("file", "copied\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: "helper", Path: "/etc"}, oneFile("file", "x")); err == nil {
		t.Error("copied into a read-only root")
	}
	if b, err := os.ReadFile(bound + "/file"); err != nil || string(b) != "copied\n" {
		t.Errorf("in the bound volume: %q, %v", b, err)
	}
	if left, err := mountsBelow(l.dir + "/data"); err != nil || len(left) > 0 {
		t.Errorf("still mounted: %v, %v", left, err)
	}
	if got := l.logs(l.ended(l.run(withMounts("", "cat /d/file", volumeAt("data", "/d")))).Id); got != "copied\n" {
		t.Errorf("another container reads %q", got)
	}
}

// A daemon that is killed while it fills the volumes of a container that never ran leaves nothing mounted.
func TestKilledWhileInheriting(t *testing.T) {
	l := openLab(t)
	l.killAt("inherit.filled", "")
	if left, err := mountsBelow(l.dir + "/data/volumes"); err != nil || len(left) != 1 || !strings.Contains(left[0], "/memory/") {
		t.Errorf("mounted: %v, %v; want the running victim's alone", left, err)
	}
	r := request("", "sleep 1000")
	r.VolumesFrom = []string{"holder"}
	l.exec(l.run(r), "test -f /etc/passwd && mount | grep -q 'on /v type tmpfs'")
}
