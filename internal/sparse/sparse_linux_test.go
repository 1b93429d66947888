package sparse

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestHoles(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A hundred megabytes of zeros around one byte.
	c := make([]byte, 100<<20)
	c[len(c)/2] = 1
	if _, err := Copy(t.Context(), f, bytes.NewReader(c), make([]byte, 128<<10)); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != int64(len(c)) || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes take %d on the disk", st.Size, st.Blocks*512)
	}
}
