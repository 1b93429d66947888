//go:build linux

package execfirst

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/internal/sigproxy"
)

// watch begins to watch signals once the command has run for a while, or is one that waits for input.
func (s *session) watch() {
	if s.started.IsZero() || s.unwatch != nil {
		return
	}
	left := shortest - time.Since(s.started)
	if s.open.Stdin || left <= 0 || s.conn.quiet(left) {
		s.unwatch = s.signals()
	}
}

// shortest is how long a command runs at least that signals are passed on to. Another is over before Go has begun to watch
// them, which takes as long as it does; who sends one then has sent it too late, or ends this program alone.
const shortest = 5 * time.Millisecond

// restAfter is when a session watches the signals that do not end programs: all sixty take Go half a millisecond.
const restAfter = 20 * time.Millisecond

// signals passes on what sigproxy says, until stop.
func (s *session) signals() (stop func()) {
	ch, done := make(chan os.Signal, 16), make(chan struct{})
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(ch)
		rest := time.After(restAfter)
		for {
			select {
			case sig := <-ch:
				s.passOn(sig)
			case <-rest:
				signal.Notify(ch)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

func (s *session) passOn(sig os.Signal) {
	if n, ok := sig.(syscall.Signal); ok && sigproxy.PassedOn(sig) {
		s.send(appendBytes(nil, inputSignal, decimal(int(n))))
	}
}
