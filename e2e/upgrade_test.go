//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/e2e/hosts/hoststest"
)

// olderDir holds a binary a commit of the past, made by `make older`, or why it was not made.
const olderDir = "../bin/older"

// noReturn are commits of an older format of data: their daemon can be followed, but does not know what its successor has written, nor
// that it does not. Later ones refuse (TestRefusesNewerData).
var noReturn = []string{"664d8e7"}

// TestUpgrade has a daemon of the past start containers, dies in its place, and goes on with the present one; then back, and forth again. No
// process ends by it, and whatever a container was made by, it can be asked for everything.
func TestUpgrade(t *testing.T) {
	fromEach(t, upgrade)
}

// fromEach runs a test for each older binary, side by side: they mostly wait.
func fromEach(t *testing.T, test func(t *testing.T, older, present string, andBack bool)) {
	commits := strings.Fields(os.Getenv("SHOAL_OLDER"))
	if len(commits) == 0 {
		t.Skip("SKIPPED: no older binaries: run `make upgrade`, which builds them from the repository's history")
	}
	present, err := filepath.Abs("../bin/shoal")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commits {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			if why, err := os.ReadFile(filepath.Join(olderDir, c, "skipped")); err == nil {
				t.Skipf("SKIPPED: %s", why)
			}
			older, err := filepath.Abs(filepath.Join(olderDir, c, "shoal"))
			if err != nil {
				t.Fatal(err)
			}
			test(t, older, present, !slices.Contains(noReturn, c))
		})
	}
}

func upgrade(t *testing.T, older, present string, andBack bool) {
	l := hoststest.Lab(t, older, 1)
	h := l.Hosts[0]
	importBusybox(t, h)
	if err := l.WebImage(t.Context(), web(t), "web:1"); err != nil {
		t.Fatal(err)
	}
	before := append(traces(t, h), stored(t, h)...)
	f := newFleet(t, l, andBack)
	s := newService(t, l)
	h.Use(present) // the binary is replaced, the daemon not yet
	f.alive()
	if !andBack {
		fails(t, h, "does not know this request (unknown method Diff): it is of an older version than this command", "diff", "old-healthy")
	}
	replace(t, h, present, syscall.SIGKILL, f.endWithoutDaemon)
	f.check()
	f.checkEnds()
	h.Use(older) // somebody else's copy of the command
	f.alive()
	h.Use(present)
	s.check()
	f.workOn("old-")
	s.scale(3)

	f.begin("new-", true) // what the present daemon makes, its predecessor finds
	replace(t, h, older, syscall.SIGTERM, nil)
	f.alive()
	s.check()
	if andBack {
		f.check()
		s.scale(2)
	}
	replace(t, h, present, syscall.SIGKILL, nil)
	f.check()
	f.workOn("new-")
	s.check()
	f.remove()
	s.remove()
	same(t, "after all was removed", before, func() []string { return append(traces(t, h), stored(t, h)...) })
}

// TestRefusesNewerData: a daemon that does not know what a newer one has written says so and leaves everything as it is.
func TestRefusesNewerData(t *testing.T) {
	l := lab(t, 1)
	h := l.Hosts[0]
	importBusybox(t, h)
	run(t, h, "run", "-d", "--name", "stays", "--restart", "always", "box:1", "sh", "-c", counting)
	pids := containerPids(t, h)
	if err := h.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(h.Dir, "data/format")
	own, err := os.ReadFile(mark)
	if err == nil {
		err = os.WriteFile(mark, []byte("1000\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := append(traces(t, h), stored(t, h)...)
	if err := h.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "was written by a newer version of Shoal (format 1000") {
		t.Errorf("a daemon of an older format says %v", err)
	}
	same(t, "after the refusal", before, func() []string { return append(traces(t, h), stored(t, h)...) })
	if err := os.WriteFile(mark, own, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := containerPids(t, h); fmt.Sprint(now) != fmt.Sprint(pids) {
		t.Errorf("processes changed from %v to %v", pids, now)
	}
}

// replace ends the daemon, does what is to be done while there is none, and starts another binary on the same directories.
func replace(t *testing.T, h *hosts.Host, bin string, sig syscall.Signal, meanwhile func()) {
	t.Helper()
	if err := h.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	h.Use(bin)
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// olderService is a service on an overlay network, in a cluster of one.
type olderService struct {
	t     *testing.T
	l     *hosts.Lab
	h     *hosts.Host
	want  string
	tasks string
}

func newService(t *testing.T, l *hosts.Lab) *olderService {
	t.Helper()
	s := &olderService{t: t, l: l, h: l.Hosts[0], want: "2/2"}
	if err := l.Join(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	run(t, s.h, "network", "create", "-d", "overlay", "mesh")
	run(t, s.h, "service", "create", "--name", "web", "--replicas", "2", "--network", "mesh", "-p", "8080:80", "web:1")
	s.tasks = s.running()
	return s
}

func (s *olderService) running() string {
	s.t.Helper()
	return run(s.t, s.h, "service", "ps", "-q", "--filter", "desired-state=running", "web")
}

// check: the tasks are the same, run, and answer.
func (s *olderService) check() {
	s.t.Helper()
	eventually(s.t, "replicas", 20*time.Second, replicas(s.t, s.h, "web", s.want))
	if now := s.running(); now != s.tasks {
		s.t.Errorf("tasks were replaced: %s, before %s", now, s.tasks)
	}
	get(s.t, s.l, s.h)
}

func (s *olderService) scale(n int) {
	s.t.Helper()
	s.want = string(rune('0'+n)) + "/" + string(rune('0'+n))
	run(s.t, s.h, "service", "scale", "web="+s.want[:1])
	eventually(s.t, "replicas", 20*time.Second, replicas(s.t, s.h, "web", s.want))
	get(s.t, s.l, s.h)
	s.tasks = s.running()
}

func (s *olderService) remove() {
	s.t.Helper()
	run(s.t, s.h, "service", "rm", "web")
	run(s.t, s.h, "network", "rm", "mesh")
	run(s.t, s.h, "cluster", "leave", "--force")
}
