//go:build linux

package userns

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
)

func TestMakeAndMap(t *testing.T) {
	enginetest.NeedRoot(t)
	ns, err := Make(Range{Base: 700000, Size: 65536}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	owner, err := unix.IoctlRetInt(int(ns.Net.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(owner)
	a, b := inode(t, fmt.Sprintf("/proc/self/fd/%d", owner)), inode(t, fmt.Sprintf("/proc/self/fd/%d", ns.User.Fd()))
	if a != b {
		t.Errorf("the network namespace belongs to user namespace %d, want %d", a, b)
	}
	dir, at := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := Map(dir, ns.User, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Attach(tree, at); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(at, "file"), &st); err != nil || st.Uid != 700000 || st.Gid != 700000 {
		t.Errorf("root's file belongs to %d:%d, %v; want 700000", st.Uid, st.Gid, err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
