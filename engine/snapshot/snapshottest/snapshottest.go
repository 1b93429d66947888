//go:build linux

// Package snapshottest checks that a snapshotter keeps the contract of snapshot.Snapshotter. It needs root.
package snapshottest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/engine/userns"
)

// Open opens a snapshotter whose state is in dir, also a second time on the same one.
type Open func(dir string) (snapshot.Snapshotter, error)

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	if os.Getuid() != 0 {
		t.Skip("snapshots need root: mounts, owners and devices")
	}
	for name, test := range map[string]func(*suite){
		"layers are merged": (*suite).merge, "an opaque directory hides": (*suite).opaque, "writes stay apart": (*suite).writes,
		"an existing layer is not filled": (*suite).fillOnce, "a failed fill leaves nothing": (*suite).fillFails,
		"concurrent unpacks share": (*suite).share, "a waiter takes over": (*suite).takeOver, "layers side by side": (*suite).outOfOrder,
		"a missing parent": (*suite).noParent, "mounting twice": (*suite).mountTwice, "removal": (*suite).remove,
		"reopening": (*suite).reopen, "no parent at all": (*suite).scratch, "attributes": (*suite).attributes, "other owners": (*suite).mapped, "a long chain": (*suite).long,
	} {
		t.Run(name, func(t *testing.T) {
			s := &suite{T: t, open: open, dir: t.TempDir()}
			s.reopenStore()
			test(s)
		})
	}
}

type suite struct {
	*testing.T
	open Open
	dir  string
	sn   snapshot.Snapshotter
}

func (s *suite) reopenStore() {
	s.Helper()
	var err error
	if s.sn, err = s.open(s.dir); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// files is a layer: name to content; "-" is a whiteout, a name that ends in "/" a directory, in "//" an opaque one.
type files map[string]string

func (f files) fill(dir string) error {
	for name, text := range f {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		var err error
		switch {
		case name[len(name)-1] == '/':
			if err = os.MkdirAll(p, 0o755); err == nil && text == "opaque" {
				err = unix.Setxattr(p, "trusted.overlay.opaque", []byte("y"), 0)
			}
		case text == "-":
			err = unix.Mknod(p, unix.S_IFCHR, 0)
		default:
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) layer(key, parent string, f files) {
	s.Helper()
	s.ok(s.sn.Unpack(s.Context(), key, parent, f.fill))
}

// mounted prepares and mounts an active snapshot and returns where.
func (s *suite) mounted(key, parent string) string {
	s.Helper()
	s.ok(s.sn.Prepare(s.Context(), key, parent))
	at := s.T.TempDir()
	s.ok(s.sn.Mount(s.Context(), key, at, snapshot.View{}))
	s.Cleanup(func() { s.sn.Unmount(s.T.Context(), at) })
	return at
}

func (s *suite) expect(at string, want files) {
	s.Helper()
	got := files{}
	err := filepath.WalkDir(at, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(at, p)
		got[rel] = string(b)
		return err
	})
	s.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("root file system (-want +got):\n%s", diff)
	}
}

func (s *suite) merge() {
	s.layer("a", "", files{"etc/one": "1", "etc/two": "2", "gone": "x", "dir/file": "x"})
	s.layer("b", "a", files{"etc/two": "22", "gone": "-", "dir": "-", "new": "n"})
	s.expect(s.mounted("c", "b"), files{"etc/one": "1", "etc/two": "22", "new": "n"})
	s.expect(s.mounted("d", "a"), files{"etc/one": "1", "etc/two": "2", "gone": "x", "dir/file": "x"})
}

func (s *suite) opaque() {
	s.layer("a", "", files{"d/old": "x", "d/sub/old": "x", "keep": "k"})
	s.layer("b", "a", files{"d/": "opaque", "d/new": "n"})
	s.expect(s.mounted("c", "b"), files{"d/new": "n", "keep": "k"})
}

func (s *suite) writes() {
	s.layer("a", "", files{"f": "1", "g": "1"})
	x, y := s.mounted("x", "a"), s.mounted("y", "a")
	s.ok(os.WriteFile(filepath.Join(x, "f"), []byte("changed"), 0o644))
	s.ok(os.Remove(filepath.Join(x, "g")))
	s.expect(x, files{"f": "changed"})
	s.expect(y, files{"f": "1", "g": "1"})
	upper, err := s.sn.UpperDir(s.Context(), "x")
	s.ok(err)
	if b, err := os.ReadFile(filepath.Join(upper, "f")); err != nil || string(b) != "changed" {
		s.Errorf("what was written is not in UpperDir: %q, %v", b, err)
	}
}

func (s *suite) fillOnce() {
	s.layer("a", "", files{"f": "1"})
	s.ok(s.sn.Unpack(s.Context(), "a", "", func(string) error { s.Error("fill was called again"); return nil }))
}

func (s *suite) fillFails() {
	broken := errors.New("broken")
	err := s.sn.Unpack(s.Context(), "a", "", func(dir string) error {
		files{"half": "h"}.fill(dir)
		return broken
	})
	if !errors.Is(err, broken) {
		s.Errorf("got %v", err)
	}
	if _, err := s.sn.Stat(s.Context(), "a"); !errors.Is(err, snapshot.ErrNotFound) {
		s.Errorf("stat: %v", err)
	}
	s.layer("a", "", files{"f": "whole"})
	s.expect(s.mounted("c", "a"), files{"f": "whole"})
}

func (s *suite) share() {
	var filled atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			err := s.sn.Unpack(s.Context(), "a", "", func(dir string) error {
				filled.Add(1)
				return files{"f": "1"}.fill(dir)
			})
			if err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	if filled.Load() != 1 {
		s.Errorf("filled %d times", filled.Load())
	}
}

func (s *suite) takeOver() {
	started, fail := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() {
		first <- s.sn.Unpack(s.Context(), "a", "", func(string) error { close(started); <-fail; return errors.New("broken") })
	}()
	<-started
	second := make(chan error)
	go func() { second <- s.sn.Unpack(s.Context(), "a", "", files{"f": "1"}.fill) }()
	close(fail)
	if err := <-first; err == nil {
		s.Error("the first one should have failed")
	}
	s.ok(<-second)
}

func (s *suite) outOfOrder() {
	baseDone := make(chan struct{})
	top := make(chan error)
	go func() {
		top <- s.sn.Unpack(s.Context(), "b", "a", func(dir string) error { <-baseDone; return files{"f": "2"}.fill(dir) })
	}()
	s.layer("a", "", files{"f": "1", "g": "1"})
	close(baseDone)
	s.ok(<-top)
	s.expect(s.mounted("c", "b"), files{"f": "2", "g": "1"})
}

func (s *suite) noParent() {
	if err := s.sn.Unpack(s.Context(), "b", "a", files{}.fill); !errors.Is(err, snapshot.ErrNotFound) {
		s.Errorf("unpack: %v", err)
	}
	if err := s.sn.Prepare(s.Context(), "c", "a"); !errors.Is(err, snapshot.ErrNotFound) {
		s.Errorf("prepare: %v", err)
	}
	infos, err := s.sn.List(s.Context())
	if err != nil || len(infos) != 0 {
		s.Errorf("left behind: %v, %v", infos, err)
	}
	if _, err := s.sn.Mounts(s.Context(), "c"); !errors.Is(err, snapshot.ErrNotFound) {
		s.Errorf("mounts: %v", err)
	}
}

func (s *suite) mountTwice() {
	s.layer("a", "", files{"f": "1"})
	at := s.mounted("c", "a")
	s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{}))
	s.ok(s.sn.Unmount(s.Context(), at))
	if entries, _ := os.ReadDir(at); len(entries) > 0 {
		s.Error("still mounted after one unmount: the second mount lay on top of the first")
	}
	s.ok(s.sn.Unmount(s.Context(), at))
	s.ok(s.sn.Unmount(s.Context(), filepath.Join(at, "never", "there")))
	if err := s.sn.Prepare(s.Context(), "c", "a"); !errors.Is(err, snapshot.ErrExists) {
		s.Errorf("prepare again: %v", err)
	}
}

func (s *suite) remove() {
	s.layer("a", "", files{"f": "1"})
	s.layer("b", "a", files{"g": "1"})
	s.ok(s.sn.Prepare(s.Context(), "c", "b"))
	for _, key := range []string{"a", "b"} {
		if err := s.sn.Remove(s.Context(), key); !errors.Is(err, snapshot.ErrInUse) {
			s.Errorf("remove %s: %v", key, err)
		}
	}
	for _, key := range []string{"c", "b", "a", "a", "unknown"} {
		s.ok(s.sn.Remove(s.Context(), key))
	}
	infos, err := s.sn.List(s.Context())
	if err != nil || len(infos) != 0 {
		s.Errorf("left: %v, %v", infos, err)
	}
	s.layer("a", "", files{"f": "new"})
	s.expect(s.mounted("c", "a"), files{"f": "new"})
}

func (s *suite) reopen() {
	s.layer("a", "", files{"f": "1"})
	s.layer("b", "a", files{"g": "1"})
	at := s.mounted("c", "b")
	s.ok(os.WriteFile(filepath.Join(at, "w"), []byte("w"), 0o644))
	s.reopenStore()
	s.ok(s.sn.Cleanup(s.Context()))
	infos, err := s.sn.List(s.Context())
	s.ok(err)
	want := []snapshot.Info{{Key: "a"}, {Key: "b", Parent: "a"}, {Key: "c", Parent: "b", Active: true}}
	if diff := cmp.Diff(want, infos); diff != "" {
		s.Error(diff)
	}
	s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{})) // mounted by the one before
	s.ok(s.sn.Unmount(s.Context(), at))
	s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{}))
	s.expect(at, files{"f": "1", "g": "1", "w": "w"})
	if err := s.sn.Remove(s.Context(), "a"); !errors.Is(err, snapshot.ErrInUse) {
		s.Errorf("remove after reopening: %v", err)
	}
}

func (s *suite) scratch() {
	at := s.mounted("c", "")
	s.ok(os.WriteFile(filepath.Join(at, "f"), []byte("1"), 0o644))
	s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{}))
	s.ok(s.sn.Unmount(s.Context(), at))
	s.expect(at, files{})
	s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{}))
	s.expect(at, files{"f": "1"})
}

func (s *suite) attributes() {
	s.ok(s.sn.Unpack(s.Context(), "a", "", func(dir string) error {
		f := filepath.Join(dir, "f")
		return errors.Join(os.WriteFile(f, nil, 0o644), os.Chown(f, 7, 8), unix.Chmod(f, 0o4755), os.Link(f, filepath.Join(dir, "g")),
			os.Chown(dir, 5, 6), unix.Chmod(dir, 0o1777), unix.Setxattr(f, "user.x", []byte("y"), 0))
	}))
	s.layer("b", "a", files{"h": ""})
	s.ok(s.sn.Unpack(s.Context(), "c", "b", func(dir string) error {
		return errors.Join(os.Chown(dir, 5, 6), unix.Chmod(dir, 0o1777))
	}))
	at := s.mounted("x", "c")
	var st unix.Stat_t
	s.ok(unix.Stat(at, &st))
	if st.Uid != 5 || st.Gid != 6 || st.Mode&0o7777 != 0o1777 {
		s.Errorf("root: %d:%d %o", st.Uid, st.Gid, st.Mode)
	}
	s.ok(unix.Stat(filepath.Join(at, "f"), &st))
	if st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o4755 || st.Nlink != 2 {
		s.Errorf("file: %d:%d %o, %d links", st.Uid, st.Gid, st.Mode, st.Nlink)
	}
	v := make([]byte, 8)
	if n, err := unix.Getxattr(filepath.Join(at, "f"), "user.x", v); err != nil || string(v[:n]) != "y" {
		s.Errorf("xattr: %q, %v", v[:n], err)
	}
}

// mapped: owners at the mount point are a user namespace's, on disk they are what they were.
func (s *suite) mapped() {
	ns, err := userns.Make(userns.Range{Base: 700000, Size: 65536}, false)
	s.ok(err)
	defer ns.Close()
	s.ok(s.sn.Unpack(s.Context(), "a", "", func(dir string) error {
		f := filepath.Join(dir, "f")
		return errors.Join(os.WriteFile(f, []byte("1"), 0o644), os.Chown(f, 7, 8))
	}))
	s.layer("b", "a", files{"g": "2"})
	s.ok(s.sn.Prepare(s.Context(), "c", "b"))
	at := s.T.TempDir()
	s.Cleanup(func() { s.sn.Unmount(s.T.Context(), at) })
	looking := at
	owner := func(name string, want uint32) {
		s.Helper()
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(looking, name), &st); err != nil || st.Uid != want {
			s.Errorf("%s belongs to %d, %v; want %d", name, st.Uid, err, want)
		}
	}
	for range 2 { // the second time it is there
		s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{Users: ns.User}))
		owner("f", 700007)
		owner("g", 700000)
	}
	s.expect(at, files{"f": "1", "g": "2"})
	s.ok(os.Chown(filepath.Join(at, "f"), 700009, 700009)) // copied up
	s.ok(s.sn.Unmount(s.Context(), at))
	s.ok(s.sn.Mount(s.Context(), "c", at, snapshot.View{Users: ns.User}))
	owner(".", 700000)
	owner("f", 700009)
	owner("g", 700000)
	s.ok(s.sn.Prepare(s.Context(), "d", "b")) // another user of the layers sees nothing of it
	other := s.T.TempDir()
	s.Cleanup(func() { s.sn.Unmount(s.T.Context(), other) })
	s.ok(s.sn.Mount(s.Context(), "d", other, snapshot.View{}))
	looking = other
	owner("f", 7)
}

func (s *suite) long() {
	const n = 150 // Docker stops at 127
	parent := ""
	want := files{}
	for i := range n {
		key := fmt.Sprintf("sha256:%064d", i)
		name := fmt.Sprintf("f%03d", i%40)
		s.layer(key, parent, files{name: key})
		want[name] = key
		parent = key
	}
	s.expect(s.mounted("c", parent), want)
}
