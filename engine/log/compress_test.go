//go:build linux

package log

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (w *writer) compress() {
	w.t.Helper()
	if err := Compress(w.t.Context(), w.path, func(string) {}); err != nil {
		w.t.Error(err)
	}
}

// zipped lists the files of a log that are compressed, and what else there is.
func zipped(t *testing.T, path string) (names string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := openFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		names += e.Name()
		if f.zipped {
			names += "(z)"
		}
		names += " "
		f.Close()
	}
	return strings.TrimSpace(names)
}

func TestCompress(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 4, lines: 2}
	w.write(3)
	plain, err := os.ReadFile(name(w.path, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name(w.path, 1), 0o640); err != nil {
		t.Fatal(err)
	}
	w.compress()
	f, err := os.Open(name(w.path, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if st, e := f.Stat(); err != nil || e != nil || string(b) != string(plain) || st.Mode().Perm() != 0o640 {
		t.Errorf("%v %v %v: %q, want %q", err, e, st.Mode(), b, plain)
	}
	w.write(5)
	if got, want := zipped(t, w.path), "log log.1 log.2 log.3(z)"; got != want {
		t.Errorf("after two more rotations: %s, want %s", got, want)
	}
	w.compress()
	w.compress()
	if got, want := zipped(t, w.path), "log log.1(z) log.2(z) log.3(z)"; got != want {
		t.Errorf("compressed again: %s, want %s", got, want)
	}
	got, err := collect(t.Context(), w.path, Options{Tail: -1}, nil)
	if diff := cmp.Diff(from(0, 7), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestRotatedMeanwhile has the writer rotate between the two changes of a compression: no file takes another's place.
func TestRotatedMeanwhile(t *testing.T) {
	for _, rotations := range []int{1, 2, 3, 4} {
		w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 4, lines: 2}
		w.write(3)
		once := false
		err := Compress(t.Context(), w.path, func(point string) {
			if point == "log.zipped" && !once {
				once = true
				w.write(2 * rotations)
			}
		})
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(zipped(t, w.path), "compressing") {
			t.Errorf("%d rotations: left %s", rotations, zipped(t, w.path))
		}
		got, err := collect(t.Context(), w.path, Options{Tail: -1}, nil)
		if diff := cmp.Diff(from(max(0, 2*(rotations-2)), 2+2*rotations), got); err != nil || diff != "" {
			t.Errorf("%d rotations: %v (-want +got):\n%s", rotations, err, diff)
		}
	}
}

// TestCompressIsCutOff ends it at each of its steps.
func TestCompressIsCutOff(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 4, lines: 2}
	w.write(5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Compress(ctx, w.path, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	unlock, err := Lock(w.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Compress(t.Context(), w.path, func(string) {}); !errors.Is(err, ErrBusy) {
		t.Errorf("while the writer rotates: %v", err)
	}
	unlock()
	if got, want := zipped(t, w.path), "log log.1 log.2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := os.WriteFile(half(w.path), []byte("left by one that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.compress()
	if got, want := zipped(t, w.path), "log log.1(z) log.2(z)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestSpoiltCompressedFile: what can be read of it is, and other files are.
func TestSpoiltCompressedFile(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 3, lines: 500}
	w.write(501)
	w.compress()
	st, err := os.Stat(name(w.path, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name(w.path, 1), st.Size()-20); err != nil {
		t.Fatal(err)
	}
	got, err := collect(t.Context(), w.path, Options{Tail: -1}, nil)
	if err == nil || !strings.Contains(err.Error(), "could not be read") || len(got) < 2 || got[0] != 0 || got[len(got)-1] != 500 {
		t.Errorf("%v: %d lines", err, len(got))
	}
}

// TestNumberGivenAgain has a compressed file that was made of one whose number the newest file has now.
func TestNumberGivenAgain(t *testing.T) {
	dir := t.TempDir()
	open := func(n int) *file {
		f, err := os.Create(filepath.Join(dir, string(rune('a'+n))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return &file{File: f, origin: "x"}
	}
	old, middle, plain := open(0), open(1), open(2)
	old.zipped, middle.zipped, middle.origin = true, true, "y"
	if i := index([]*file{old, middle, plain}, plain); i != 2 {
		t.Errorf("the file itself is number %d", i)
	}
	if i := index([]*file{old, middle}, plain); i != 0 {
		t.Errorf("what it has become is number %d", i)
	}
	if i := index([]*file{plain, middle}, old); i != -1 {
		t.Errorf("a compressed file is never made of one that is younger: %d", i)
	}
}
