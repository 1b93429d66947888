//go:build linux

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
)

// Who has joined a container's PID namespace, and may trace processes, sees nothing of the host in what comes to that container.
func TestWatchedByAnother(t *testing.T) {
	l := openLab(t)
	l.run(request("watched", "sleep 1000"))
	canary := filepath.Join(l.dir, "canary")
	if err := os.WriteFile(canary, []byte("of the host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := request("watcher", fmt.Sprintf("echo ready; while :; do for p in /proc/[0-9]*; do { read x < $p/root%s && echo SEEN; } 2>/dev/null; done; done", canary))
	r.Spec.PidMode, r.Spec.CapAdd = "container:watched", []string{"SYS_PTRACE"}
	watcher := l.run(r)
	enginetest.Until(t, "it looks", func() bool { return l.logs(watcher) != "" })
	for range 50 {
		l.exec("watched", "true")
	}
	if n := strings.Count(l.logs(watcher), "SEEN"); n > 0 {
		t.Errorf("a file of the host was seen %d times", n)
	}
}
