//go:build linux

package fstree

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

func xattrOf(path, name string) string {
	buf := make([]byte, 100)
	n, err := unix.Lgetxattr(path, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// source is a tree with one of everything.
func source(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: owners and devices need root")
	}
	dir := filepath.Join(t.TempDir(), "src")
	must(t, os.MkdirAll(dir+"/sub/deep", 0o755))
	must(t, os.WriteFile(dir+"/file", []byte(strings.Repeat("content ", 50_000)), 0o640))
	must(t, os.WriteFile(dir+"/setuid", []byte("x"), 0o600))
	must(t, os.Link(dir+"/file", dir+"/sub/hard"))
	must(t, os.Link(dir+"/file", dir+"/sub/deep/hard"))
	must(t, os.Symlink("file", dir+"/link"))
	must(t, os.Symlink("/etc/shadow", dir+"/outside"))
	must(t, os.Symlink("nowhere", dir+"/dangling"))
	must(t, unix.Mkfifo(dir+"/pipe", 0o600))
	must(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o620, int(unix.Mkdev(1, 3))))
	must(t, os.Chown(dir+"/setuid", 1000, 1001))
	must(t, os.Chmod(dir+"/setuid", 0o755|os.ModeSetuid))
	must(t, os.Lchown(dir+"/link", 7, 8))
	must(t, os.Chmod(dir+"/sub", 0o1777|os.ModeSticky))
	must(t, unix.Setxattr(dir+"/setuid", "trusted.kind", []byte("value"), 0))
	must(t, unix.Setxattr(dir+"/sub", "trusted.kind", []byte("of a directory"), 0))
	must(t, unix.Setxattr(dir+"/sub", "trusted.overlay.opaque", []byte("y"), 0))
	old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, name := range []string{"file", "sub/deep", "sub", ""} {
		must(t, os.Chtimes(filepath.Join(dir, name), old, old))
	}
	must(t, os.Chmod(dir, 0o711))
	return dir
}

func TestCopy(t *testing.T) {
	src, dst := source(t), t.TempDir()
	must(t, Copy(t.Context(), src, dst))
	count := 0
	must(t, filepath.WalkDir(src, func(path string, _ os.DirEntry, err error) error {
		rel, _ := filepath.Rel(src, path)
		a, b := stat(t, path), stat(t, filepath.Join(dst, rel))
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev || a.Mtim != b.Mtim {
			t.Errorf("%s: %+v, want %+v", rel, b, a)
		}
		if a.Mode&unix.S_IFMT == unix.S_IFREG && (a.Size != b.Size || a.Nlink != b.Nlink) {
			t.Errorf("%s: size %d, links %d, want %d, %d", rel, b.Size, b.Nlink, a.Size, a.Nlink)
		}
		if want, got := xattrOf(path, "trusted.kind"), xattrOf(filepath.Join(dst, rel), "trusted.kind"); got != want {
			t.Errorf("%s: attribute %q, want %q", rel, got, want)
		}
		count++
		return err
	}))
	if count != 12 {
		t.Errorf("compared %d entries", count)
	}
	for link, want := range map[string]string{"link": "file", "outside": "/etc/shadow", "dangling": "nowhere"} {
		if got, err := os.Readlink(filepath.Join(dst, link)); err != nil || got != want {
			t.Errorf("%s leads to %q, %v, want %q", link, got, err, want)
		}
	}
	first, second := stat(t, dst+"/file"), stat(t, dst+"/sub/deep/hard")
	if first.Ino != second.Ino || first.Ino == stat(t, src+"/file").Ino {
		t.Error("the names of one file are several files, or the source's")
	}
	if got := xattrOf(dst+"/sub", "trusted.overlay.opaque"); got != "" {
		t.Errorf("overlayfs's own attribute was copied: %q", got)
	}
	if got, err := os.ReadFile(dst + "/sub/hard"); err != nil || string(got) != strings.Repeat("content ", 50_000) {
		t.Errorf("content: %d bytes, %v", len(got), err)
	}
}

// A link in the destination is refused and not followed, whatever it stands for.
func TestCopyDoesNotFollow(t *testing.T) {
	for _, name := range []string{"file", "sub", "pipe", "link"} {
		src, dst, victim := source(t), t.TempDir(), t.TempDir()
		must(t, os.Symlink(victim, filepath.Join(dst, name)))
		if err := Copy(t.Context(), src, dst); err == nil {
			t.Errorf("%s: a link was taken for it", name)
		}
		if left, _ := os.ReadDir(victim); len(left) != 0 {
			t.Errorf("%s: written through the link: %v", name, left)
		}
	}
}

func TestCopyEnds(t *testing.T) {
	src, dst := source(t), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Copy(ctx, src, dst); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, pair := range [][2]string{{src + "/none", dst}, {src, dst + "/none"}, {src + "/file", dst}, {src, src + "/file"}} {
		if err := Copy(t.Context(), pair[0], pair[1]); err == nil {
			t.Errorf("copied %v", pair)
		}
	}
}
