//go:build linux

package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/proto/api"
)

// A file that nobody has waited for may be empty after a power cut. The container comes back, and all that it held is there.
func TestTornFiles(t *testing.T) {
	l := openLab(t)
	r := withMounts("one", patient, volumeAt("named", "/data"))
	r.Restart = &api.LocalRestartPolicy{Name: "always"}
	id := l.run(r)
	l.exec("one", "echo mine >/data/f; echo own >/own; sync")
	files, err := os.ReadDir(filepath.Join(l.dir, "data/containers", id))
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for _, f := range files {
		switch f.Name() {
		case requestFile, imageFile, createdFile: // synced before they have their names
			continue
		}
		torn++
		l.powerOff()
		if err := os.Truncate(filepath.Join(l.dir, "data/containers", id, f.Name()), 0); err != nil {
			t.Fatal(err)
		}
		l.open()
		l.until("one", "running again without "+f.Name(), func(r *api.Container) bool { return r.State == api.ContainerState_CONTAINER_RUNNING })
		if out := l.exec("one", "cat /data/f /own; grep -c . /etc/hosts /etc/hostname >/dev/null && echo named"); out != "mine\nown\nnamed\n" {
			t.Errorf("without %s: %q", f.Name(), out)
		}
	}
	if torn < 4 {
		t.Errorf("only %d files were emptied: %v", torn, files)
	}
}

// A container whose row as created is damaged, but not the one as it is, can be stopped and started.
func TestDamagedRowAsCreated(t *testing.T) {
	l := openLab(t)
	r := request("one", patient)
	r.Restart = &api.LocalRestartPolicy{Name: "always"}
	id := l.run(r)
	if err := os.Remove(filepath.Join(l.dir, "data/containers", id, createdFile)); err != nil {
		t.Fatal(err)
	}
	now := time.Duration(0)
	if err := errors.Join(l.Stop(l.ctx(), id, &now, ""), l.Start(l.ctx(), id)); err != nil {
		t.Error(err)
	}
}

// What is removed at its end is not waited for at all: its row may be empty, and nothing is left of it.
func TestTornAutoRemove(t *testing.T) {
	l := openLab(t)
	r := request("once", "sleep 1000")
	r.AutoRemove = true
	id := l.run(r)
	l.powerOff()
	for _, name := range []string{requestFile, imageFile, createdFile, stateFile} {
		if err := os.Truncate(filepath.Join(l.dir, "data/containers", id, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	l.open()
	enginetest.Until(t, "nothing is left", func() bool { return len(l.traces()) == 0 })
	if _, err := l.Inspect(l.ctx(), "once"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
}

// Layers that are lost are unpacked again when a container needs them: a new one, and one that was there.
func TestLostLayers(t *testing.T) {
	l := openLab(t)
	id := l.run(request("one", patient))
	l.exec("one", "echo own >/own")
	l.powerOff()
	snapshots := filepath.Join(l.dir, "data/snapshots/s")
	entries, err := os.ReadDir(snapshots)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	if err := os.RemoveAll(filepath.Join(snapshots, "1")); err != nil { // the image's layer
		t.Fatal(err)
	}
	l.open()
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	if out := l.exec("one", "cat /own"); out != "own\n" {
		t.Errorf("the container's own file: %q", out)
	}
	l.run(request("two", patient))
	c, err := l.find("one")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cfg.Snapshots.Remove(l.ctx(), c.img.ChainID); !errors.Is(err, snapshot.ErrInUse) {
		t.Errorf("a layer that two containers use is removed: %v", err)
	}
}
