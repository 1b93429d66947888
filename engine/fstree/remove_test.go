//go:build linux

package fstree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// dig makes n directories below one another, with a file in each.
func dig(t *testing.T, dir string, n int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	for i := 0; i < n && err == nil; i++ {
		next := -1
		if err = unix.Mknodat(at, "file", unix.S_IFREG|0o600, 0); err == nil {
			err = unix.Mkdirat(at, "d", 0o700)
		}
		if err == nil {
			next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		unix.Close(at)
		at = next
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(at)
}

func TestRemoveAll(t *testing.T) {
	base, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "dir")
	for _, d := range []string{"a/b/c", "moved-1/x"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Join(dir, "a", "b")} {
		if err := os.Symlink(outside, filepath.Join(d, "link")); err != nil {
			t.Fatal(err)
		}
	}
	for range maxNames + 10 {
		f, err := os.CreateTemp(filepath.Join(dir, "a"), "")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	dig(t, filepath.Join(dir, "a"), 5*maxDepth)
	for _, path := range []string{dir, filepath.Join(base, "nothing"), filepath.Join(base, "nothing", "below")} {
		if err := RemoveAll(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Error(err)
	}
}

// TestRemoveDeep has fewer descriptors than there are directories below one another.
func TestRemoveDeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	dig(t, dir, 3000)
	fewDescriptors(t)
	if err := RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// TestCopyManyLinks has fewer descriptors than there are files with several names.
func TestCopyManyLinks(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, d := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(from, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 600 {
		name := strconv.Itoa(i)
		if err := os.WriteFile(filepath.Join(from, "a/b", name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(from, "a/b", name), filepath.Join(from, "c", name)); err != nil {
			t.Fatal(err)
		}
	}
	fewDescriptors(t)
	if err := Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	for i := range 600 {
		a, err1 := os.Stat(filepath.Join(to, "a/b", strconv.Itoa(i)))
		b, err2 := os.Stat(filepath.Join(to, "c", strconv.Itoa(i)))
		if err1 != nil || err2 != nil || !os.SameFile(a, b) {
			t.Fatalf("file %d: %v, %v, or they are two files", i, err1, err2)
		}
	}
}

func fewDescriptors(t *testing.T) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 512, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
}
