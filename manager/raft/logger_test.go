package raft

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoggerSaysThingsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newLogger(slog.New(slog.NewTextHandler(&out, nil)))
		say := func() int {
			out.Reset()
			l.With("peer", "a").Error("failed to heartbeat to")
			l.Named("x").Warn("failed to contact")
			l.Info("entering leader state") // one level lower: debug
			return strings.Count(out.String(), "\n")
		}
		if n := say(); n != 2 {
			t.Errorf("%d lines at first, want 2", n)
		}
		if n := say(); n != 0 {
			t.Errorf("%d lines the second time, want 0: %s", n, out.String())
		}
		time.Sleep(repeatAfter)
		if n := say(); n != 2 {
			t.Errorf("%d lines a minute later, want 2", n)
		}
	})
}
