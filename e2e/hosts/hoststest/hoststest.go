//go:build linux

// Package hoststest is package hosts in a test: a lab that ends with it, and commands that must succeed.
package hoststest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

var labs atomic.Int32

// Lab makes n hosts with running daemons. bin is the program, relative to the test's directory. On failure the daemons'
// logs are shown.
func Lab(t testing.TB, bin string, n int) *hosts.Lab {
	t.Helper()
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("e%d-%d", os.Getpid()%10000, labs.Add(1))
	l, err := hosts.New(hosts.Config{Name: name, Dir: filepath.Join("/tmp", "shoal-"+name), Bin: bin, N: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, l)
		}
		if err := l.Close(); err != nil {
			t.Error("close lab:", err)
		}
	})
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// logTail is how much of a daemon's log a failed test shows.
const logTail = 12 << 10

func showLogs(t testing.TB, l *hosts.Lab) {
	for _, h := range l.Hosts {
		b, _ := os.ReadFile(h.LogPath())
		t.Logf("---- %s\n%s", h.Name, b[max(0, len(b)-logTail):])
	}
}

// Run is the command line of a host; it must succeed within what a busy machine may take.
func Run(t testing.TB, h *hosts.Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := h.CLI(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
