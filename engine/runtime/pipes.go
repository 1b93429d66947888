//go:build linux

package runtime

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeStream is an exec session's streams: pipes, or the master side of a terminal.
type pipeStream struct {
	stdin    *os.File // nil if there is none
	stdout   *os.File
	stderr   *os.File      // nil with a terminal
	terminal *os.File      // the same file as stdin and stdout, or nil
	ended    chan struct{} // closed when the process has ended
	leave    sync.Once
}

// newPipes returns our ends and those of the process, in the order of descriptors 0, 1, 2.
func newPipes(withStdin bool) (s *pipeStream, theirs []*os.File, err error) {
	s = &pipeStream{}
	var in *os.File
	if withStdin {
		in, s.stdin, err = halfPipe(1)
	} else {
		in, err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, nil, err
	}
	theirs = append(theirs, in)
	for _, mine := range []**os.File{&s.stdout, &s.stderr} {
		r, w, err := halfPipe(0)
		if err != nil {
			s.abandon()
			closeAll(theirs...)
			return nil, nil, err
		}
		*mine = r
		theirs = append(theirs, w)
	}
	return s, theirs, nil
}

// halfPipe makes a pipe of which this program uses one end, number ours. The other blocks, as programs expect of their
// streams, and so is none that Go has to watch.
func halfPipe(ours int) (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe", err)
	}
	unix.SetNonblock(p[ours], true)
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

func newTerminal(f *os.File, withStdin bool) *pipeStream {
	s := &pipeStream{stdout: f, terminal: f}
	if withStdin {
		s.stdin = f
	}
	return s
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

func (s *pipeStream) abandon() { closeAll(s.stdin, s.stdout, s.stderr) }

// Stdin implements Stream.
func (s *pipeStream) Stdin() io.WriteCloser {
	switch {
	case s.stdin == nil:
		return nil
	case s.terminal != nil:
		return terminalInput{s.terminal}
	default:
		return s.stdin
	}
}

// terminalInput cannot be closed without losing the output: its end is a control character that the user types.
type terminalInput struct{ io.Writer }

func (terminalInput) Close() error { return nil }

// Output implements Stream.
func (s *pipeStream) Output(stdout, stderr io.Writer) error {
	errs := make(chan error, 2)
	n := 0
	run := func(to io.Writer, from *os.File) {
		if from == nil {
			return
		}
		n++
		go func() { errs <- copyStream(to, from) }()
	}
	run(stdout, s.stdout)
	run(stderr, s.stderr)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.ended:
			// What the process wrote is read; a grandchild that holds on to the streams is not waited for.
			for _, f := range []*os.File{s.stdout, s.stderr} {
				if f != nil {
					f.SetReadDeadline(time.Now())
				}
			}
		case <-stop:
		}
	}()
	var err error
	for range n {
		err = errors.Join(err, <-errs)
	}
	return err
}

// buffers are for copyStream: two new ones for each exec would be most of what an exec leaves to the garbage collector.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copyStream copies until the end of a stream. After its deadline it takes what is there, and no more than there can be: who
// outlives the process may write as fast as this reads.
func copyStream(to io.Writer, from *os.File) error {
	array := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(array)
	buf := array[:]
	left := -1 // until the deadline there is no bound
	for left != 0 {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if left < 0 {
				left = capacity(from)
			}
			n, err = readNow(from, buf[:min(len(buf), left)])
			left -= n
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, syscall.EIO), errors.Is(err, os.ErrClosed), errors.Is(err, syscall.EAGAIN):
			return nil // EIO: nobody has the terminal open any more
		default:
			return err
		}
	}
	return nil
}

// capacity is how much a pipe or a terminal may hold.
func capacity(f *os.File) int {
	size := 128 << 10
	raw, err := f.SyscallConn()
	if err != nil {
		return size
	}
	raw.Control(func(fd uintptr) {
		if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil {
			size = n
		}
	})
	return size
}

// readNow reads without waiting, whatever the deadline.
func readNow(f *os.File, buf []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		n, err = unix.Read(int(fd), buf)
		if n == 0 && err == nil {
			err = io.EOF
		}
		n = max(n, 0)
	})
	return n, errors.Join(cerr, err)
}

// Close implements Stream. The process goes on: what it still writes is read and dropped.
func (s *pipeStream) Close() error {
	s.leave.Do(func() {
		if s.terminal == nil && s.stdin != nil {
			s.stdin.Close()
		}
		go func() {
			defer s.abandon()
			s.Output(io.Discard, io.Discard)
		}()
	})
	return nil
}
