//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestFullDisk: the state of a container changes although there is no room for a second file.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	row := &api.Container{Id: "a", Name: "web", State: api.ContainerState_CONTAINER_RUNNING, Error: "longer than what follows"}
	if err := saveState(dir, row); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), make([]byte, 1<<20), 0o600); !isFull(err) {
		t.Fatalf("the disk is not full: %v", err)
	}
	row.State, row.Error = api.ContainerState_EXITED, ""
	if err := saveState(dir, row); err != nil {
		t.Fatal(err)
	}
	got := &api.Container{}
	if err := loadMessage(filepath.Join(dir, stateFile), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(row, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	row.Error = string(make([]byte, 1<<16))
	if err := saveState(dir, row); !isFull(err) {
		t.Errorf("a row that does not fit: %v", err)
	}
}
