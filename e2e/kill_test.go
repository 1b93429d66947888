//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// killCount is how often the daemon dies in TestKilledUnderLoad: 25 times, or as SHOAL_KILLS says (`make e2e KILLS=100`).
func killCount() int {
	if n, err := strconv.Atoi(os.Getenv("SHOAL_KILLS")); err == nil {
		return n
	}
	return 25
}

// TestKilledUnderLoad kills the daemon at any moment while two users start containers as fast as they can. No container is
// lost, no exit code is lost, nothing is left.
func TestKilledUnderLoad(t *testing.T) {
	l := lab(t, 1)
	h, kills := l.Hosts[0], killCount()
	importBusybox(t, h)
	before := traces(t, h)
	keep := strings.TrimSpace(run(t, h, "run", "-d", "--name", "keep", "box:1", "sleep", "100000"))
	pid := run(t, h, "inspect", "-f", "{{.State.Pid}}", keep)
	ctx, stop := context.WithCancel(t.Context())
	var users sync.WaitGroup
	made := make([]map[string]int, 2) // name to exit code, of containers whose start was reported
	for u := range made {
		made[u] = map[string]int{}
		users.Go(func() { user(ctx, h, fmt.Sprintf("u%d", u), made[u]) })
	}
	for range kills {
		pause := time.NewTimer(time.Duration(rand.IntN(120)) * time.Millisecond)
		select {
		case <-pause.C:
		case <-t.Context().Done():
		}
		if err := h.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	users.Wait()
	if n := checkMade(t, h, made); n < kills/2 {
		t.Errorf("only %d containers were started through %d kills: this was no load", n, kills)
	}
	if now := run(t, h, "inspect", "-f", "{{.State.Pid}}", keep); now != pid {
		t.Errorf("the container that was to be left alone has pid %s, before %s", now, pid)
	}
	ids := strings.Fields(run(t, h, "ps", "-aq"))
	run(t, h, append([]string{"rm", "-f"}, ids...)...)
	same(t, "after all containers were removed", before, func() []string { return traces(t, h) })
}

// user starts containers that end with a code of their own, and notes those that it was told have started.
func user(ctx context.Context, h *hosts.Host, name string, made map[string]int) {
	for i := 0; ctx.Err() == nil; i++ {
		container, code := fmt.Sprintf("%s-%d", name, i), i%7
		script := fmt.Sprintf("sleep 0.0%d; exit %d", i%9, code)
		if _, err := h.CLI(ctx, "run", "-d", "--name", container, "--network", []string{"none", "bridge"}[i%2], "box:1", "sh", "-c", script); err == nil {
			made[container] = code
		}
	}
}

// checkMade checks every exit code and returns how many there are.
func checkMade(t *testing.T, h *hosts.Host, made []map[string]int) int {
	t.Helper()
	got := map[string]string{}
	eventually(t, "all but one have ended", 20*time.Second, func() error {
		out := run(t, h, "ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}")
		for line := range strings.Lines(out) {
			name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(state, "running") && name != "keep" {
				return fmt.Errorf("%s still runs", name)
			}
			got[name] = state
		}
		return nil
	})
	n := 0
	for _, m := range made {
		for name, code := range m {
			n++
			if want := fmt.Sprintf("Exited (%d)", code); !strings.Contains(got[name], want) {
				t.Errorf("%s is %q, want %s", name, got[name], want)
			}
		}
	}
	t.Logf("%d containers were started, %d are there", n, len(got)-1)
	return n
}

// importBusybox gives a host the image box:1.
func importBusybox(t *testing.T, h *hosts.Host) {
	t.Helper()
	archive, err := hosts.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.CLIWith(t.Context(), bytes.NewReader(archive), "image", "import", "-", "box:1"); err != nil {
		t.Fatal(err)
	}
}
