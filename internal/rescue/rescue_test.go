package rescue

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func broken() error {
	var m map[string]int
	//lint:ignore SA5000 the panic is meant
	m["x"] = 1
	return nil
}

func TestCall(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	if err := Call(log, "Stop", func() error { return io.EOF }); err != io.EOF || logged.Len() > 0 {
		t.Errorf("without a panic: %v, logged %s", err, &logged)
	}
	released := false
	err := Call(log, "Stop", func() error {
		defer func() { released = true }()
		return broken()
	})
	var p *Panicked
	if !errors.As(err, &p) || err.Error() != "internal error in Stop: see the daemon's log" {
		t.Errorf("a panic is %v", err)
	}
	if !released {
		t.Error("what was deferred did not happen")
	}
	for _, want := range []string{"level=ERROR", "request=Stop", "assignment to entry in nil map", "rescue.broken"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log has no %q: %s", want, &logged)
		}
	}
	if n := strings.Count(logged.String(), "level="); n != 1 {
		t.Errorf("%d lines are logged", n)
	}
}

// A panic of a goroutine that the request waits for comes out where the request is, with the stack of where it happened.
func TestCarry(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	err := Call(log, "Attach", func() error {
		ch := make(chan error)
		go func() { ch <- Carry(broken) }()
		return Out(<-ch)
	})
	var p *Panicked
	if !errors.As(err, &p) || !strings.Contains(logged.String(), "rescue.broken") {
		t.Errorf("%v, logged %s", err, &logged)
	}
	if err := Out(Carry(func() error { return io.EOF })); err != io.EOF {
		t.Errorf("an error comes out as %v", err)
	}
}
