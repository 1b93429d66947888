//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestInspectDetails: the paths are where the files are.
func TestInspectDetails(t *testing.T) {
	l := openLab(t)
	id := l.run(request("", "sleep 1000"))
	l.exec(id, "echo x > /made")
	_, d, err := l.InspectDetails(l.ctx(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(d.UpperDir, "made"), filepath.Join(d.Root, "made"), filepath.Join(d.Directory, "hosts"), filepath.Join(d.LowerDirs[0], "bin/sh"), d.WorkDir} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestMergedHealth(t *testing.T) {
	image := &api.HealthConfig{Test: []string{"CMD", "a"}, Interval: durationpb.New(time.Second), Retries: 7}
	if h := mergedHealth(nil, nil); h != nil {
		t.Errorf("of nothing: %v", h)
	}
	h := mergedHealth(&api.HealthConfig{Interval: durationpb.New(time.Minute)}, image)
	if h.Test[1] != "a" || h.Interval.AsDuration() != time.Minute || h.Retries != 7 {
		t.Errorf("%v", h)
	}
}
