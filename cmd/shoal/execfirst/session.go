//go:build linux

package execfirst

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/internal/execwire"
)

// session is a connection to the daemon, and this program's streams.
type session struct {
	open Open
	conn interface {
		io.ReadWriter
		patience(time.Duration) error
		quiet(time.Duration) bool
	}
	in  io.Reader
	out io.Writer
	err io.Writer

	mu      sync.Mutex // one frame after the other
	started time.Time  // zero: the command does not run yet
	unwatch func()     // nil: signals are not watched yet
}

// run is the session from its first byte to the exit code. Not done: the daemon does not speak the short form, or has
// refused; nothing was done, and the whole program asks again and reports.
func (s *session) run() (code int, done bool) {
	first := execwire.Append([]byte(execwire.Preface), execwire.Message, s.open.Message())
	if _, err := s.conn.Write(first); err != nil {
		return 0, false
	}
	kind, _, err := execwire.Read(s.conn)
	if errors.Is(err, syscall.EAGAIN) { // it may do later what it was asked for: do not ask again
		return s.fail("what listens at unix://" + s.open.Socket + " does not answer as a Shoal daemon: check --host and SHOAL_HOST"), true
	}
	if err != nil || kind != execwire.Hello {
		return 0, false
	}
	s.conn.patience(0)
	defer func() {
		if s.unwatch != nil {
			s.unwatch()
		}
	}()
	for {
		s.watch()
		kind, body, err := execwire.Read(s.conn)
		if err != nil {
			return s.fail("lost the connection to the Shoal daemon at unix://" + s.open.Socket + ": is it still running?"), true
		}
		field, _, data, _, _ := next(body)
		if s.started.IsZero() && (kind == execwire.Refused || field != outputReady) {
			return 0, false // it could not be started
		}
		if kind == execwire.Refused {
			return s.fail(string(body)), true
		}
		switch field {
		case outputReady:
			s.started = time.Now()
			if s.open.Stdin {
				go s.input()
			}
		case outputStdout:
			_, err = s.out.Write(data)
		case outputStderr:
			_, err = s.err.Write(data)
		case outputExit:
			return s.exit(data), true
		}
		if err != nil {
			return s.cannotWrite(err), true
		}
	}
}

// exit reads a StreamExit.
func (s *session) exit(b []byte) int {
	code, why := 0, ""
	for len(b) > 0 {
		field, number, data, rest, ok := next(b)
		if !ok {
			return s.fail("the daemon's answer is malformed")
		}
		switch field {
		case exitCode:
			code = int(int32(number))
		case exitError:
			why = string(data)
		}
		b = rest
	}
	if why == "" {
		return code
	}
	s.fail(why)
	if code == 0 {
		return 125
	}
	return code
}

// fail prints one line and gives the exit code of a failure.
func (s *session) fail(why string) int {
	io.WriteString(s.err, "shoal: "+why+"\n")
	return 1
}

// cannotWrite: who read the output (head, less) has seen enough, or it went nowhere.
func (s *session) cannotWrite(err error) int {
	if errors.Is(err, syscall.EPIPE) {
		return 128 + int(syscall.SIGPIPE)
	}
	return s.fail(err.Error())
}

// input copies standard input; the end of it closes the process's.
func (s *session) input() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.in.Read(buf)
		if n > 0 && s.send(appendBytes(nil, inputStdin, buf[:n])) != nil {
			return
		}
		if err != nil {
			s.send(appendTrue(nil, inputStdinClose))
			return
		}
	}
}

func (s *session) send(message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.conn.Write(execwire.Append(nil, execwire.Message, message))
	return err
}
