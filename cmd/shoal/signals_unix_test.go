//go:build unix

package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestRunSignals: a signal goes to the container and not to us.
func TestRunSignals(t *testing.T) {
	f := newFake(t)
	f.containers.signals = make(chan string, 10)
	f.containers.output = []*api.StreamOutput{text(false, "up\n")}
	f.containers.exit = &api.StreamExit{Code: 143}
	t.Setenv("SHOAL_HOST", f.host)
	// The program's own handler is in place once output arrives: then this process signals itself.
	var once bool
	out := writerFunc(func(p []byte) (int, error) {
		if !once {
			once = true
			syscall.Kill(os.Getpid(), syscall.SIGTERM)
		}
		return len(p), nil
	})
	code := run([]string{"run", "x"}, strings.NewReader(""), out, io.Discard)
	if code != 143 {
		t.Errorf("exit code %d", code)
	}
	calls := f.containers.calls
	if last := calls[len(calls)-1]; last != "kill cccccccccccc SIGTERM" {
		t.Errorf("calls %v", calls)
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }
