package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// content is what a path holds, and what else is in its directory.
func content(t *testing.T, path string) (text string, beside int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if b != nil {
		return string(b), len(entries) - 1
	}
	return "", len(entries)
}

func TestWriteAndReplace(t *testing.T) {
	for name, write := range map[string]func(string, []byte, fs.FileMode) error{"Write": Write, "Replace": Replace} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			for _, text := range []string{"a long first one", "second"} {
				if err := write(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if got, beside := content(t, path); got != text || beside != 0 {
					t.Errorf("holds %q, and %d files are beside it", got, beside)
				}
			}
			if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
				t.Errorf("%v, %v", st.Mode(), err)
			}
		})
	}
}

// What cannot be put in place leaves the old thing, here a directory, and nothing beside it.
func TestFailureLeavesTheOld(t *testing.T) {
	for name, write := range map[string]func(string, []byte, fs.FileMode) error{"Write": Write, "Replace": Replace} {
		path := filepath.Join(t.TempDir(), "d")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := write(path, []byte("x"), 0o600); err == nil {
			t.Errorf("%s over a directory succeeds", name)
		}
		if left, err := filepath.Glob(filepath.Dir(path) + "/*"); err != nil || len(left) != 1 {
			t.Errorf("%s leaves %v, %v", name, left, err)
		}
	}
}

// A killed process leaves an unfinished file, which the next one takes no notice of.
func TestUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	tmp, err := Prepare(path, []byte("a long one that was never put in its place"), 0o600)
	if err != nil || tmp != path+UnfinishedExt {
		t.Fatal(tmp, err)
	}
	if got, beside := content(t, path); got != "" || beside != 1 {
		t.Errorf("holds %q before Rename, and %d files are beside it", got, beside)
	}
	if err := Write(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, beside := content(t, path); got != "short" || beside != 0 {
		t.Errorf("holds %q, and %d files are beside it", got, beside)
	}
}

func TestRemoveAndRename(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.Mkdir(a, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Rename(a, b), Remove(b)); err != nil {
		t.Fatal(err)
	}
	if err := Remove(b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if err := Rename(a, b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed after that: %v", err)
	}
}

func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	if err := WriteNew(dir, map[string][]byte{"a": []byte("first"), "b": nil}, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, beside := content(t, filepath.Join(dir, "a")); got != "first" || beside != 1 {
		t.Errorf("holds %q, and %d files are beside it", got, beside)
	}
	if err := WriteNew(filepath.Join(dir, "none"), map[string][]byte{"a": nil}, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}
