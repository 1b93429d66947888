//go:build linux

package snapshot

import (
	"os"
	"testing"
)

// Nobody but root and its group reaches what images and containers have written, wherever the directory is and whoever made it.
func TestOthersAreShutOut(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(dir); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o710 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}
