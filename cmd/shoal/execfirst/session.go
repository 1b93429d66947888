//go:build linux

package execfirst

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/internal/execwire"
	"github.com/shoal-dev/shoal/internal/sigproxy"
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

// helloWithin is how long a daemon may take to say that it understands.
const helloWithin = 5 * time.Second

// link is a connection to a daemon. The descriptor blocks: there is one goroutine that reads from it.
type link struct {
	*os.File
	fd int
}

// dial connects to a daemon's socket. Until patience is set, a read ends after so long.
func dial(socket string, within time.Duration) (*link, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l := &link{fd: fd}
	err = l.patience(within)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket})
	}
	if err != nil {
		syscall.Close(fd)
		return nil, err
	}
	l.File = os.NewFile(uintptr(fd), socket)
	return l, nil
}

// patience is how long a read waits; zero: for ever.
func (l *link) patience(d time.Duration) error {
	t := syscall.NsecToTimeval(int64(d))
	return syscall.SetsockoptTimeval(l.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &t)
}

// quiet waits for something to read, and says whether nothing came.
func (l *link) quiet(d time.Duration) bool {
	l.patience(d)
	defer l.patience(0)
	for {
		if _, _, err := syscall.Recvfrom(l.fd, make([]byte, 1), syscall.MSG_PEEK); err != syscall.EINTR {
			return err == syscall.EAGAIN
		}
	}
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
