//go:build linux

package engine

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// A container may make directories of any depth. They go with it, and take no more of the daemon than others.
func TestDeepDirectories(t *testing.T) {
	l := openLab(t)
	id := l.ended(l.run(request("", "mkdir /deep"))).Id
	upper, err := l.cfg.Snapshots.UpperDir(l.ctx(), id)
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Open(upper+"/deep", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if err := unix.Mkdirat(at, "d", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	_, diffed := l.Diff(l.ctx(), id)
	_, committed := l.Commit(l.ctx(), &api.CommitRequest{Ref: id, Image: "deep"})
	for what, err := range map[string]error{
		"diff": diffed, "commit": committed, "export": l.Export(l.ctx(), id, io.Discard), "cp": l.CopyFrom(l.ctx(), id, "/deep", false, io.Discard),
	} {
		if !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := l.Remove(l.ctx(), id, false, false); err != nil {
		t.Fatal(err)
	}
}
