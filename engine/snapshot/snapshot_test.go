//go:build linux

package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/engine/snapshot/snapshottest"
)

func TestOverlay(t *testing.T) { snapshottest.Run(t, snapshot.NewOverlay) }

// A crash leaves directories in tmp: the next start removes them and nothing else.
func TestCleanup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("overlayfs needs root")
	}
	dir := t.TempDir()
	s, err := snapshot.NewOverlay(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Unpack(t.Context(), "a", "", func(string) error { return nil })
	for _, p := range []string{"tmp/new-1/fs/x", "tmp/old-7/fs/x"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = snapshot.NewOverlay(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(filepath.Join(dir, "tmp"))
	if _, err := s.Stat(t.Context(), "a"); err != nil || len(left) != 0 {
		t.Errorf("left %v; stat: %v", left, err)
	}
}

// After a power cut the description of a snapshot may be empty. It is known all the same; one that nobody knows any more is set
// aside, and the others can be used.
func TestDamagedDescription(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("overlayfs needs root")
	}
	dir := t.TempDir()
	open := func() snapshot.Snapshotter {
		s, err := snapshot.NewOverlay(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	err := errors.Join(s.Unpack(t.Context(), "layer", "", func(string) error { return nil }), s.Prepare(t.Context(), "torn", "layer"), s.Prepare(t.Context(), "lost", "layer"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"2", "3"} {
		if err := os.Truncate(filepath.Join(dir, "s", n, "info.json"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Removexattr(filepath.Join(dir, "s/3"), "trusted.shoal.snapshot"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was found is written down
		s = open()
		info, err := s.Stat(t.Context(), "torn")
		if want := (snapshot.Info{Key: "torn", Parent: "layer", Active: true}); err != nil || info != want {
			t.Errorf("%+v, %v", info, err)
		}
		if _, err := s.Stat(t.Context(), "lost"); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("the lost one: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "s/3.damaged/fs")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Prepare(t.Context(), "lost", "layer"), s.Remove(t.Context(), "torn")); err != nil {
		t.Error(err)
	}
}

// What Mounts says must be the same mount that Mount makes, also with separators in the path.
func TestMountsAreMountable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	s, err := snapshot.NewOverlay(filepath.Join(t.TempDir(), "with, comma: colon"))
	if err != nil {
		t.Fatal(err)
	}
	fill := func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), nil, 0o644) }
	if err := errors.Join(s.Unpack(t.Context(), "a", "", fill), s.Unpack(t.Context(), "b", "a", func(string) error { return nil }),
		s.Prepare(t.Context(), "c", "b")); err != nil {
		t.Fatal(err)
	}
	ms, err := s.Mounts(t.Context(), "c")
	if err != nil || len(ms) != 1 {
		t.Fatal(ms, err)
	}
	at := t.TempDir()
	if err := unix.Mount(ms[0].Source, at, ms[0].Type, 0, strings.Join(ms[0].Options, ",")); err != nil {
		t.Fatalf("%v: %v", ms[0], err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if _, err := os.Stat(filepath.Join(at, "f")); err != nil {
		t.Error(err)
	}
}

func TestForeignMountAtTheTarget(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	s, err := snapshot.NewOverlay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(string) error { return nil }
	if err := errors.Join(s.Unpack(t.Context(), "a", "", nothing), s.Prepare(t.Context(), "c", "a")); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := s.Mount(t.Context(), "c", at, snapshot.View{}); err == nil || !strings.Contains(err.Error(), "tmpfs is mounted there already") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkOverlayMount(b *testing.B) {
	s, err := snapshot.NewOverlay(b.TempDir())
	if err != nil {
		b.Skip(err)
	}
	parent := ""
	for i := range 10 {
		key := fmt.Sprint("layer", i)
		if err := s.Unpack(b.Context(), key, parent, func(string) error { return nil }); err != nil {
			b.Fatal(err)
		}
		parent = key
	}
	at := b.TempDir()
	for b.Loop() {
		ctx := context.Background()
		if err := errors.Join(s.Prepare(ctx, "c", parent), s.Mount(ctx, "c", at, snapshot.View{}), s.Unmount(ctx, at), s.Remove(ctx, "c")); err != nil {
			b.Fatal(err)
		}
	}
}
