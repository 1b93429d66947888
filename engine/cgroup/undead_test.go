//go:build linux

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// From linux/fs.h.
const fiFreeze, fiThaw = 0xc0045877, 0xc0045878

// Who waits for a disk that does not answer does not die, and is named when its group cannot be removed.
func TestRemoveGivesUpOnTheUndead(t *testing.T) {
	disk := frozenDisk(t)
	g := newGroup(t)
	m := start(t, g, "while :; do echo x >>"+disk+"/file; done")
	if err := freezeDisk(disk, fiFreeze); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits for its disk", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") D ")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := g.Remove(ctx)
	if err == nil || !strings.Contains(err.Error(), "killed, but not dead is ") {
		t.Errorf("removed while a process waits for its disk: %v", err)
	}
	if err := freezeDisk(disk, fiThaw); err != nil {
		t.Fatal(err)
	}
	remove(t, g)
}

// frozenDisk mounts a file system that can be frozen.
func frozenDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 32<<20), os.Mkdir(disk, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: needs a loop device with ext4, which can be frozen: %s: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		freezeDisk(disk, fiThaw) // nothing, if it goes on already
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return disk
}

func freezeDisk(dir string, how uint) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.IoctlSetInt(int(d.Fd()), how, 0)
}
