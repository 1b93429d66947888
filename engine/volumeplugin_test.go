//go:build linux

package engine

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/engine/volume/plugin/plugintest"
	"github.com/shoal-dev/shoal/proto/api"
)

// A plugin's volume is used as any other: made at first use, filled, shared, mounted once for all its containers, kept.
func TestPluginVolumes(t *testing.T) {
	l := openLab(t)
	p := plugintest.New(t, t.TempDir())
	p.Serve(t, l.dir+"/plugins/disk.sock")
	m := volumeAt("remote", "/etc")
	m.Driver, m.DriverOpts = "disk", map[string]string{"mode": "fast"}
	first := l.run(withMounts("first", "sleep 1000", m))
	second := l.run(withMounts("second", "sleep 1000", volumeAt("remote", "/r")))
	l.exec(first, "echo from first >/etc/file")
	if got := l.exec(second, "cat /r/file; grep -c bob /r/passwd"); got != "from first\n1\n" {
		t.Errorf("the second sees %q", got)
	}
	if v, err := l.VolumeStore().Get(l.ctx(), "remote"); err != nil || v.Driver != "disk" || v.Scope != "global" || v.Mountpoint == "" {
		t.Errorf("%v, %v", v, err)
	}
	l.reopen()
	for i, id := range []string{first, second} {
		if users, want := p.Users("remote"), 1; users != want {
			t.Errorf("before removal %d the plugin has %d users", i, users)
		}
		if err := l.Remove(l.ctx(), id, true, true); err != nil {
			t.Fatal(err)
		}
	}
	if users := p.Users("remote"); users != 0 {
		t.Errorf("at the end the plugin has %d users", users)
	}
	if b, err := os.ReadFile(p.Files("remote") + "/file"); err != nil || string(b) != "from first\n" {
		t.Errorf("kept: %q, %v", b, err)
	}
	if err := l.RemoveVolume(l.ctx(), "remote", false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.Files("remote")); err == nil {
		t.Error("the plugin still has the volume")
	}
	if calls := strings.Join(p.Called(), ","); strings.Count(calls, "Mount remote") != 1 || strings.Count(calls, "Unmount remote") != 1 {
		t.Errorf("called: %s", calls)
	}
}

// While a plugin is away containers end and can be removed; when it is back it learns what it missed.
func TestPluginIsAway(t *testing.T) {
	l := openLab(t)
	p := plugintest.New(t, t.TempDir())
	stop := p.Serve(t, l.dir+"/plugins/disk.sock")
	m := volumeAt("remote", "/r")
	m.Driver = "disk"
	id := l.run(withMounts("", "sleep 1000", m))
	stop()
	os.Remove(l.dir + "/plugins/disk.sock")
	if err := l.Remove(l.ctx(), id, true, true); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveVolume(l.ctx(), "remote", false); !errors.Is(err, volume.ErrNoDriver) {
		t.Errorf("removed without its driver: %v", err)
	}
	again := l.create(withMounts("", "true", m))
	if err := l.Start(l.ctx(), again); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "start that plugin") {
		t.Errorf("started without the plugin: %v", err)
	}
	if users := p.Users("remote"); users != 1 {
		t.Fatalf("the plugin has %d users", users)
	}
	p.Serve(t, l.dir+"/plugins/disk.sock")
	l.reopen()
	if users := p.Users("remote"); users != 0 {
		t.Errorf("when it is back the plugin has %d users", users)
	}
	if err := l.Remove(l.ctx(), again, true, true); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveVolume(l.ctx(), "remote", false); err != nil {
		t.Error(err)
	}
}

// A daemon that is killed at any point leaves no mount at the plugin, and the plugin's volume belongs to a row or is gone.
func TestKilledWithPluginVolume(t *testing.T) {
	for _, point := range []string{"create.row", "create.volumes", "start.volumes", "start.rootfs", "start.running"} {
		t.Run(point, func(t *testing.T) {
			l := openLab(t)
			p := plugintest.New(t, t.TempDir())
			p.Serve(t, l.dir+"/plugins/disk.sock")
			l.killAt(point, "", crashDriver+"=disk")
			want := 0
			if point == "start.running" {
				want = 1
			}
			enginetest.Until(t, "mounts are as they should be", func() bool { return p.Users("remote") == want })
			if want == 1 {
				l.exec("victim", "mount | grep -q /remote")
			}
			if err := l.Remove(l.ctx(), "victim", true, true); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			if users := p.Users("remote"); users != 0 {
				t.Errorf("at the end the plugin has %d users", users)
			}
			if err := l.RemoveVolume(l.ctx(), "remote", true); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(p.Files("remote")); err == nil {
				t.Error("the plugin still has the volume")
			}
		})
	}
}

func TestUnknownDriver(t *testing.T) {
	l := openLab(t)
	_, err := l.CreateVolume(l.ctx(), &api.Volume{Name: "v", Driver: "nope"})
	if !errors.Is(err, volume.ErrNoDriver) || strings.Contains(err.Error(), "\n") {
		t.Errorf("volume create: %v", err)
	}
	m := volumeAt("v", "/v")
	m.Driver = "nope"
	if _, err := l.Create(l.ctx(), CreateOptions{Request: withMounts("", "true", m)}); !errors.Is(err, volume.ErrNoDriver) {
		t.Errorf("create: %v", err)
	}
	if list, err := l.VolumeStore().List(l.ctx()); err != nil || len(list) > 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}
