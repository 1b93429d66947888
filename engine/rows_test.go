//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWriteFileFails: what could not be written leaves the old file and nothing else.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "row")
	if err := os.MkdirAll(filepath.Join(inTheWay, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(inTheWay, []byte("x"), rowFilePerm, false); err == nil {
		t.Fatal("a directory was replaced")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}
