//go:build linux

package log

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// FuzzRead reads damaged logs: whatever is in the files, reading ends, with no more lines than there are, nor than wanted.
func FuzzRead(f *testing.F) {
	f.Add([]byte(text(1)+text(2)), []byte(text(0)), int64(-1), false)
	f.Add([]byte(text(1)[:40]), []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), int64(3), true)
	f.Add([]byte("\n\n{}\nnull\n[1]\n{\"log\":1}\n"), []byte{}, int64(1), true)
	f.Add(bytes.Repeat([]byte("x"), 70<<10), []byte(text(7)), int64(0), false)
	f.Fuzz(func(t *testing.T, newest, older []byte, tail int64, details bool) {
		path := filepath.Join(t.TempDir(), "log")
		for name, content := range map[string][]byte{path: newest, path + ".1": older} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n := int64(0)
		Read(t.Context(), path, Options{Tail: tail, Details: details}, func(*api.LogLine) error { n++; return nil })
		if tail >= 0 && n > tail {
			t.Errorf("%d lines of %d", n, tail)
		}
	})
}
