//go:build linux

package volume

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestOfOlderDaemon: a volume whose row names no driver is a local one; if it is mounted for a container that runs, it stays so until
// that one has gone.
func TestOfOlderDaemon(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	_, _, err := s.Create(t.Context(), &api.Volume{Name: "memory", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}})
	must(t, err)
	path, err := s.Mount(t.Context(), "memory", "runs")
	must(t, err)
	t.Cleanup(func() { unmount(path) })
	must(t, os.WriteFile(filepath.Join(path, "f"), []byte("kept"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "memory/volume.json"),
		[]byte(`{"name":"memory","created":"2026-11-24T05:00:00Z","options":{"device":"tmpfs","type":"tmpfs"}}`), 0o600))
	must(t, os.Remove(filepath.Join(dir, "memory/users.json")))

	s = openAt(t, dir, Options{})
	must(t, s.Adopt(t.Context(), "memory", "runs"))
	must(t, s.Adopt(t.Context(), "memory", "runs"))
	must(t, s.Reconcile(t.Context(), func(user string) bool { return user == "runs" }))
	_, err = s.Mount(t.Context(), "memory", "another")
	must(t, err)
	must(t, s.Unmount(t.Context(), "memory", "another"))
	expect(t, filepath.Join(path, "f"), "kept")
	v, err := s.Get(t.Context(), "memory")
	if err != nil || v.Driver != DriverLocal || v.Mountpoint != path {
		t.Errorf("shown as %v, %v", v, err)
	}
	must(t, s.Unmount(t.Context(), "memory", "runs"))
	if there, err := isMountPoint(path); err != nil || there {
		t.Errorf("without users it is mounted: %v, %v", there, err)
	}
	must(t, s.Adopt(t.Context(), "memory", "late")) // not mounted: nobody can have it
	if st := s.mounted("memory"); len(st.Users) != 0 {
		t.Errorf("users are %v", st.Users)
	}
}
