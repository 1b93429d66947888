//go:build linux

package runtime

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// Each limit is exceeded, and the kernel acts.

func TestMemoryLimit(t *testing.T) {
	s := sh("x=a; while true; do x=$x$x; done")
	s.Limits = &api.ContainerLimits{MemoryBytes: 16 << 20}
	b := newBox(t, s).start()
	if exit := b.wait(); !exit.OOMKilled || exit.Code != 137 {
		t.Errorf("exit %+v, want killed for lack of memory", exit)
	}
}

func TestPidsLimit(t *testing.T) {
	s := sh("for i in $(seq 40); do sleep 5 & done; wait")
	s.Limits = &api.ContainerLimits{Pids: 10}
	b := newBox(t, s).start()
	b.wait()
	if got := b.logged(); !strings.Contains(got, "can't fork") {
		t.Errorf("40 processes with a limit of 10: %q", got)
	}
}

func TestCPULimit(t *testing.T) {
	s := sh("while true; do :; done")
	s.Limits = &api.ContainerLimits{NanoCpus: 1e8}
	b := newBox(t, s).start()
	enginetest.Until(t, "it is throttled", func() bool { return must(b.rt.Stats(b.ctx(), b.opts.ID))(t).ThrottledNanos > 0 })
}

func TestUpdateWhileRunning(t *testing.T) {
	b := newBox(t, sh("sleep 100")).start()
	limit := int64(32 << 20)
	if err := b.rt.Update(b.ctx(), b.opts.ID, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}); err != nil {
		t.Fatal(err)
	}
	if st := must(b.rt.Stats(b.ctx(), b.opts.ID))(t); st.MemoryLimit != 32<<20 || st.Pids != 1 || st.Memory == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestUlimits(t *testing.T) {
	s := sh("ulimit -n; ulimit -Hn; ulimit -c")
	s.Ulimits = []*api.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}, {Name: "core", Soft: 0, Hard: 0}}
	if got := output(t, s); got != "100\n200\n0\n" {
		t.Errorf("got %q", got)
	}
}
