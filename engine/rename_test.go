//go:build linux

package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestRename(t *testing.T) {
	l := openLab(t)
	id := l.run(request("before", "sleep 1000"))
	l.create(request("taken", "true"))
	for name, kind := range map[string]error{"taken": ErrExists, "-x": ErrInvalid, "before": ErrInvalid} {
		if err := l.Rename(l.ctx(), id, name); !errors.Is(err, kind) {
			t.Errorf("to %q: %v", name, err)
		}
	}
	if err := l.Rename(l.ctx(), "before", "/after"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Inspect(l.ctx(), "before"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old name: %v", err)
	}
	l.create(request("before", "true")) // the old name is free
	l.close()
	if err := os.Remove(filepath.Join(l.dir, "data/containers", id, stateFile)); err != nil { // as a power cut may
		t.Fatal(err)
	}
	l.open()
	if got := l.row("after").Id; got != id {
		t.Errorf("after a restart the name means %s", got)
	}
}

func TestUpdate(t *testing.T) {
	l := openLab(t)
	r := request("one", "sleep 1000")
	r.Spec.Limits = &api.ContainerLimits{MemoryBytes: 64 << 20, Pids: 20}
	id := l.run(r)
	update := func(limits *api.ContainerLimits, restart *api.LocalRestartPolicy) error {
		return l.Update(l.ctx(), &api.UpdateContainerRequest{Ref: "one", Limits: limits, Restart: restart})
	}
	limit := func() uint64 {
		stats, err := l.Stats(l.ctx(), []string{id})
		if err != nil || len(stats) != 1 {
			t.Fatal(stats, err)
		}
		return stats[0].MemoryLimit
	}
	if err := update(&api.ContainerLimits{MemoryBytes: 200 << 20, NanoCpus: 5e8}, &api.LocalRestartPolicy{Name: "always"}); err != nil {
		t.Fatal(err)
	}
	if row := l.row(id); limit() != 200<<20 || row.Spec.Limits.Pids != 20 || row.Spec.Limits.NanoCpus != 5e8 || row.Restart.Name != "always" {
		t.Errorf("limit %d, row %v", limit(), row)
	}
	if err := update(&api.ContainerLimits{MemoryBytes: -1, Pids: -1, CpuQuota: 20000}, nil); err != nil {
		t.Fatal(err)
	}
	if row := l.row(id); limit() != 0 || row.Spec.Limits.Pids != 0 || row.Spec.Limits.NanoCpus != 0 || row.Restart.Name != "always" {
		t.Errorf("limit %d, row %v", limit(), row)
	}
	if err := update(&api.ContainerLimits{MemoryBytes: 1}, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a limit too small: %v", err)
	}
	if err := update(nil, &api.LocalRestartPolicy{Name: "nope"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a policy unknown: %v", err)
	}
	if err := update(&api.ContainerLimits{MemoryBytes: 100 << 20}, &api.LocalRestartPolicy{Name: "no"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Kill(l.ctx(), id, ""); err != nil {
		t.Fatal(err)
	}
	l.ended(id)
	if err := l.Start(l.ctx(), id); err != nil { // with what was updated
		t.Fatal(err)
	}
	if limit() != 100<<20 {
		t.Errorf("limit after a new start %d", limit())
	}
}

func TestTop(t *testing.T) {
	l := openLab(t)
	id := l.run(request("one", "sleep 1000; true"))
	enginetest.Until(t, "both processes are shown", func() bool {
		top, err := l.Top(l.ctx(), id, nil)
		if err != nil || len(top.Titles) != 8 {
			t.Fatal(top, err)
		}
		var commands []string
		for _, p := range top.Processes {
			commands = append(commands, p.Values[0]+" "+p.Values[7])
		}
		slices.Sort(commands)
		return slices.Equal(commands, []string{"root sh -c sleep 1000; true", "root sleep 1000"})
	})
	if _, err := l.Top(l.ctx(), id, []string{"--forest"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an option that is not supported: %v", err)
	}
	if _, err := l.Top(l.ctx(), l.create(request("two", "true")), nil); !errors.Is(err, ErrPrecondition) {
		t.Errorf("one that does not run: %v", err)
	}
}
