//go:build linux

package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// logged makes a container with compressed logs that writes n lines and waits.
func logged(ref string, n int) *api.CreateContainerRequest {
	r := request(ref, fmt.Sprintf("seq %d; %s", n, patient))
	r.Spec.Log = &api.LogConfig{Options: map[string]string{"max-size": "20k", "max-file": "4", "compress": "true"}}
	return r
}

// seq is what seq writes.
func seq(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

func (l *lab) zipped(ref string, n int) bool {
	b, err := os.ReadFile(fmt.Sprintf("%s.%d", l.row(ref).LogPath, n))
	return err == nil && bytes.HasPrefix(b, []byte{0x1f, 0x8b})
}

func TestCompressedLogs(t *testing.T) {
	l := openLab(t)
	id := l.run(logged("one", 800)) // of some 75 bytes each, so three files and a piece
	all := seq(800) + "ready\n"
	enginetest.Until(t, "all is written", func() bool { return l.logs(id) == all })
	(&compressor{l.Engine, map[string]os.FileInfo{}}).round(l.ctx())
	if !l.zipped("one", 1) || !l.zipped("one", 2) || l.zipped("one", 0) {
		t.Error("the rotated logs are not compressed")
	}
	if got := l.logs("one"); got != all {
		t.Errorf("logs has %d bytes, want %d", len(got), len(all))
	}
	var tail strings.Builder
	err := l.Logs(l.ctx(), "one", &api.LogOptions{Tail: 701}, func(line *api.LogLine) error {
		tail.Write(line.Data)
		return nil
	})
	if err != nil || seq(100)+tail.String() != all {
		t.Errorf("the last 701 lines begin with %.20q, %v", tail.String(), err)
	}
	before, _ := os.Stat(l.row("one").LogPath + ".1")
	(&compressor{l.Engine, map[string]os.FileInfo{}}).round(l.ctx())
	if after, err := os.Stat(l.row("one").LogPath + ".1"); err != nil || !os.SameFile(before, after) {
		t.Errorf("what is compressed was compressed again: %v", err)
	}
	l.must(l.Remove(l.ctx(), "one", true, false))
	for options, want := range map[string]bool{"": true, "compress=false": false, "max-file=1": false, "max-file=2": true} { // of driver local
		row := &api.Container{Spec: &api.ContainerSpec{Log: &api.LogConfig{Driver: "local", Options: map[string]string{}}}}
		if key, value, ok := strings.Cut(options, "="); ok {
			row.Spec.Log.Options[key] = value
		}
		if s, err := logConfig(row, ""); err != nil || s.compress != want {
			t.Errorf("driver local, %q: %+v, %v", options, s, err)
		}
	}
	for options, want := range map[string]string{
		"compress=true": "give max-size", "compress=true max-size=1m": "max-file of at least 2", "compress=sometimes": "neither true nor false",
		"mode=non-blocking": "only blocking is there", "max-buffer-size=1m": "mode=non-blocking", "max-file=0": "from 1 on", "tags=x": "no such option",
	} {
		r := request("", "true")
		r.Spec.Log = &api.LogConfig{Options: map[string]string{}}
		for _, o := range strings.Fields(options) {
			key, value, _ := strings.Cut(o, "=")
			r.Spec.Log.Options[key] = value
		}
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}

// compressOperation is interrupted between writing the compressed file and putting it in the other's place.
func compressOperation() operation {
	return operation{
		prepare: func(l *lab) {
			l.ready(logged("one", 800))
		},
		do: func(ctx context.Context, e *Engine, _ func(string)) error {
			(&compressor{e, map[string]os.FileInfo{}}).round(ctx)
			return nil
		},
		happened: func(l *lab) bool {
			if got, all := l.logs("one"), seq(800)+"ready\n"; got != all {
				l.t.Errorf("logs has %d bytes, want %d", len(got), len(all))
			}
			return l.zipped("one", 1) && l.zipped("one", 2)
		},
	}
}
