//go:build linux

package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHolesStay: zeros of an archive take no room, and what was a hole in one container is one in the next.
func TestHolesStay(t *testing.T) {
	needRoot(t)
	const size = 64 << 20
	from, to := t.TempDir(), t.TempDir()
	f, err := os.Create(from + "/disk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("data"), size/2); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	var b bytes.Buffer
	if err := open(t, from).Write(t.Context(), "/disk", false, &b); err != nil {
		t.Fatal(err)
	}
	if h, err := tar.NewReader(bytes.NewReader(b.Bytes())).Next(); err != nil || h.Size != size {
		t.Fatalf("%v, %v", h, err)
	}
	if err := open(t, to).Extract(t.Context(), "/", &b, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile(from + "/disk")
	got, err := os.ReadFile(to + "/disk")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(to+"/disk", &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the copy takes %d bytes on the disk, %v", st.Blocks*512, err)
	}
}
