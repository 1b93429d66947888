//go:build linux

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/internal/poll"
)

var groupCount atomic.Int32

// newGroup makes a group of this machine's below a parent of its own; both are gone when the test ends.
func newGroup(t *testing.T) *Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: control groups need root")
	}
	tree, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	g, err := tree.Group(fmt.Sprintf("shoal-test-%d-%d/group", os.Getpid(), groupCount.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		remove(t, g)
		expectGone(t, g)
	})
	return g
}

func remove(t *testing.T, g *Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.Delete(ctx); err != nil {
		t.Error(err)
	}
}

func expectGone(t *testing.T, g *Group) {
	t.Helper()
	for _, dir := range g.dirs() {
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", d, err)
			}
		}
	}
}

// holds compares files of the group's controllers, whichever version they belong to.
func holds(t *testing.T, g *Group, files map[string]string) {
	t.Helper()
	for name, want := range files {
		controller, _, _ := strings.Cut(name, ".")
		dir := g.home(controller)
		if got, err := read(dir, name); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}

// limits says whether there is such a controller.
func (g *Group) limits(controller string) bool {
	return slices.Contains(g.tree.controllers(), controller)
}

// hugePages adds two huge pages to the machine for as long as the test takes, and mounts them.
func hugePages(t *testing.T) string {
	t.Helper()
	enginetest.HugePages(t, 2)
	at := t.TempDir()
	if err := unix.Mount("hugetlbfs", at, "hugetlbfs", 0, "pagesize=2M"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(at, 0) })
	return at
}

// member is a shell in the group.
type member struct {
	*exec.Cmd
	out  *os.File // a file and no pipe: what it leaves running in the background keeps it open
	done chan struct{}
}

// start runs a script by a shell that has joined the group. Its first output says that it did.
func start(t *testing.T, g *Group, script string) *member {
	t.Helper()
	files := g.TaskFiles()
	if d := g.V2Dir(); d != "" {
		files = append(files, filepath.Join(d, "cgroup.procs"))
	}
	m := &member{done: make(chan struct{})}
	joined, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer joined.Close()
	m.Cmd = exec.Command("sh", "-c", "for f in $GROUP; do echo 0 > $f || exit 99; done; echo in >&3; exec 3>&-\n"+script)
	m.Env = append(os.Environ(), "GROUP="+strings.Join(files, " "), "LC_ALL=C")
	if m.out, err = os.Create(filepath.Join(t.TempDir(), "out")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.out.Close() })
	m.Stdout, m.Stderr, m.ExtraFiles = m.out, m.out, []*os.File{say}
	err = m.Start()
	say.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Process.Kill(); <-m.done })
	go func() { m.Wait(); close(m.done) }()
	if n, err := joined.Read(make([]byte, 3)); err != nil || n != 3 {
		t.Fatalf("the shell did not join: %v", err)
	}
	return m
}

// said is what the script has said so far.
func (m *member) said(t *testing.T) string {
	t.Helper()
	out, err := os.ReadFile(m.out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// end waits for the script and returns what it said.
func (m *member) end(t *testing.T) string {
	t.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		t.Fatal("the script does not end")
	}
	return m.said(t)
}

// patience is how long a test waits for what takes a second or two, on an emulated machine that has other things to do as well.
const patience = time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !poll.Until(patience, ok) {
		t.Fatalf("%s: not within %s", what, patience)
	}
}

func to[T any](v T) *T { return &v }
