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

// killSeed chooses the moments; SHOAL_KILL_SEED repeats those of another run, though not what the users did at them.
func killSeed(t *testing.T) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("SHOAL_KILL_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("SHOAL_KILL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestKilledUnderLoad kills the daemon at any moment while users do all that a daemon can be asked for, as fast as they can. No
// container is lost, no exit code is lost, images are whole, nothing is left.
func TestKilledUnderLoad(t *testing.T) {
	l := lab(t, 1)
	h, kills, random := l.Hosts[0], killCount(), killSeed(t)
	importBusybox(t, h)
	registry := registryOn(t, h)
	before := append(traces(t, h), stored(t, h)...)
	keep := strings.TrimSpace(run(t, h, "run", "-d", "--name", "keep", "box:1", "sleep", "100000"))
	pid := run(t, h, "inspect", "-f", "{{.State.Pid}}", keep)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	users := newUsers(ctx, t, h, registry)
	for _, u := range users {
		load.Go(func() {
			for ctx.Err() == nil {
				u.turn(u)
				u.turns++
			}
		})
	}
	begun := time.Now()
	var down, last time.Duration
	for range kills {
		pause := time.NewTimer(time.Duration(random.Int64N(int64(250*time.Millisecond + 2*last)))) // a slow machine needs longer for everything
		select {
		case <-pause.C:
		case <-t.Context().Done():
		}
		at := time.Now()
		if err := h.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		last = time.Since(at)
		down += last
	}
	took := time.Since(begun)
	stop()
	load.Wait() // each user ends with a turn that nobody disturbs
	t.Logf("%d kills in %v, %v each until the daemon answered again", kills, took.Round(time.Millisecond), (down / time.Duration(max(1, kills))).Round(time.Millisecond))
	for _, u := range users {
		t.Logf("%-10s %4d turns, %4d commands cut off", u.name, u.turns, u.cut)
		if u.turns < 1 || u.cut == 0 && kills >= 100 {
			t.Errorf("%s: %d turns, %d commands cut off: this was no load", u.name, u.turns, u.cut)
		}
	}
	checkRan(t, h, users, kills)
	if now := run(t, h, "inspect", "-f", "{{.State.Pid}} {{.State.Status}}", keep); now != strings.TrimSpace(pid)+" running\n" {
		t.Errorf("the container that was to be left alone: %s, before %s", now, pid)
	}
	checkImages(t, h)
	run(t, h, append([]string{"rm", "-f", "-v"}, strings.Fields(run(t, h, "ps", "-aq"))...)...)
	for _, image := range strings.Fields(run(t, h, "images", "-q", "--no-trunc")) {
		if image != strings.TrimSpace(run(t, h, "inspect", "-f", "{{.Id}}", "--type", "image", "box:1")) {
			run(t, h, "rmi", "-f", image)
		}
	}
	run(t, h, "volume", "prune", "-af")
	run(t, h, "network", "prune", "-f")
	same(t, "after all was removed", before, func() []string { return append(traces(t, h), stored(t, h)...) })
}

// checkRan checks the exit code of every container whose start was reported.
func checkRan(t *testing.T, h *hosts.Host, users []*user, kills int) {
	t.Helper()
	got := map[string]string{}
	eventually(t, "those that end have ended", 20*time.Second, func() error {
		out := run(t, h, "ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}")
		for line := range strings.Lines(out) {
			name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(name, "run") && strings.HasPrefix(state, "running") {
				return fmt.Errorf("%s still runs", name)
			}
			if strings.HasPrefix(state, "paused") {
				t.Errorf("%s was left paused", name)
			}
			got[name] = state
		}
		return nil
	})
	n := 0
	for _, u := range users {
		for name, code := range u.ran {
			n++
			if want := fmt.Sprintf("Exited (%d)", code); !strings.Contains(got[name], want) {
				t.Errorf("%s is %q, want %s", name, got[name], want)
			}
		}
	}
	t.Logf("%d containers were reported to have started, %d are there", n, len(got))
	if n < kills/5 {
		t.Errorf("only %d containers were started through %d kills: this was no load", n, kills)
	}
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
