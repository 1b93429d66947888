//go:build linux

package plugin_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/engine/volume/plugin"
	"github.com/shoal-dev/shoal/engine/volume/plugin/plugintest"
	"github.com/shoal-dev/shoal/engine/volume/volumetest"
)

// node is a machine with plugin directories of its own. Paths of sockets are short, so they are below /tmp.
func node(t *testing.T) plugin.Dirs {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	dir, err := os.MkdirTemp("", "plug")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"/run", "/etc", "/usr"} {
		if err := os.Mkdir(dir+sub, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return plugin.Dirs{Sockets: dir + "/run", Specs: []string{dir + "/etc", dir + "/usr"}}
}

func find(t *testing.T, dirs plugin.Dirs, name string) volume.Driver {
	t.Helper()
	d, err := plugin.New(dirs).Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPluginConforms(t *testing.T) {
	dirs := node(t)
	p := plugintest.New(t, t.TempDir())
	p.Serve(t, dirs.Sockets+"/disk.sock")
	volumetest.Run(t, volumetest.Harness{
		Open:    func(t *testing.T) volume.Driver { return find(t, dirs, "disk") },
		Options: map[string]string{"mode": "fast"}, Bad: map[string]string{"color": "blue"}, Scope: "global",
	})
}

// Every place where Docker looks for plugins.
func TestDiscovery(t *testing.T) {
	dirs := node(t)
	socket := filepath.Dir(dirs.Sockets) + "/else.sock"
	p := plugintest.New(t, t.TempDir())
	p.Serve(t, dirs.Sockets+"/flat.sock")
	p.Serve(t, dirs.Sockets+"/deep/deep.sock")
	p.Serve(t, socket)
	for path, text := range map[string]string{
		dirs.Specs[0] + "/spec.spec": "unix://" + socket + "\n",
		dirs.Specs[1] + "/json.json": `{"Name": "json", "Addr": "unix://` + socket + `"}`,
		dirs.Specs[0] + "/bad.spec":  "carrier-pigeon",
		dirs.Specs[0] + "/torn.json": "{",
		dirs.Specs[0] + "/gone.spec": "unix:///nowhere.sock",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"flat", "deep", "spec", "json", "flat:latest"} {
		if scope, err := find(t, dirs, name).Scope(t.Context()); err != nil || scope != "global" {
			t.Errorf("%s: %q, %v", name, scope, err)
		}
	}
	for name, want := range map[string]string{
		"none": "start that plugin", "bad": "carrier-pigeon", "torn": "torn.json", "../flat": "not the name of a driver",
		"vendor/name": "managed plugins", "gone": "does not answer at unix:///nowhere.sock",
	} {
		_, err := plugin.New(dirs).Find(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, want)
		}
		if none := strings.Contains(want, "plugin"); none && !errors.Is(err, volume.ErrNoDriver) {
			t.Errorf("%s: %v is not ErrNoDriver", name, err)
		}
	}
}

// A volume that the plugin has already is taken, not made; what it refuses is told in its words, in one line.
func TestAnswers(t *testing.T) {
	dirs := node(t)
	p := plugintest.New(t, t.TempDir())
	stop := p.Serve(t, dirs.Sockets+"/disk.sock")
	d := find(t, dirs, "disk")
	if err := os.Mkdir(p.Files("foreign"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(t.Context(), volume.Volume{Name: "foreign"}); err != nil {
		t.Error(err)
	}
	if _, err := d.Mount(t.Context(), volume.Volume{Name: "none"}); err == nil || err.Error() != "volume plugin disk: volume none is unknown" {
		t.Errorf("mount of what is not there: %v", err)
	}
	if err := d.Remove(t.Context(), volume.Volume{Name: "foreign"}); err != nil {
		t.Error(err)
	}
	// A plugin that is started again while somebody asks is waited for.
	stop()
	os.Remove(dirs.Sockets + "/disk.sock")
	done := make(chan error, 1)
	go func() { done <- d.Create(t.Context(), volume.Volume{Name: "patient"}) }()
	p.Serve(t, dirs.Sockets+"/disk.sock")
	if err := <-done; err != nil {
		t.Errorf("while it was started again: %v", err)
	}
}
