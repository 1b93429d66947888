package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestCopyOfHoles: zeros of a container's archive take no room on this machine's disk.
func TestCopyOfHoles(t *testing.T) {
	content := make([]byte, 32<<20)
	content[len(content)-1] = 1
	var archive bytes.Buffer
	tw := tar.NewWriter(&archive)
	tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "disk", Mode: 0o644, Size: int64(len(content))})
	tw.Write(content)
	tw.Close()
	dir := t.TempDir()
	if err := (&cli{}).unpack(t.Context(), &archive, dir, "", false); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "disk"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the copy differs: %v", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "disk"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the copy takes %d bytes on the disk, %v", st.Blocks*512, err)
	}
}
