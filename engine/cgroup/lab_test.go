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
	"strings"
	"sync/atomic"
	"testing"
	"time"
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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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

// version1 tells tests of version 1's limits whether they can run here.
func version1(t *testing.T, g *Group) {
	t.Helper()
	if g.Unified() {
		t.Skip("SKIPPED: this machine has no cgroups of version 1")
	}
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

// end waits for the script and returns what it said.
func (m *member) end(t *testing.T) string {
	t.Helper()
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the script does not end")
	}
	out, err := os.ReadFile(m.out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}

func to[T any](v T) *T { return &v }
