//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

var readBuf [16 << 10]byte

// pipeIn is the container's standard input.
type pipeIn struct {
	fd      int // write end of the pipe, -1 without one or with a terminal
	pending []byte
	closing bool
}

func (p *pipeIn) target(s *shim) int {
	if s.tty {
		return s.out.fd
	}
	return p.fd
}

func (p *pipeIn) flush(s *shim) {
	fd := p.target(s)
	for len(p.pending) > 0 {
		n, e := write(fd, p.pending)
		if e == syscall.EAGAIN {
			return
		}
		if e != 0 || fd < 0 { // nobody reads any more
			p.pending, p.closing = nil, true
			break
		}
		p.pending = p.pending[n:]
	}
	p.pending = nil
	if p.closing {
		closeFD(&p.fd)
	}
}

// makeStdio prepares the container's descriptors and returns the child's ends.
func (s *shim) makeStdio(h *wire.Header) (theirs [3]int, why string) {
	null, e := open("/dev/null", syscall.O_RDWR, 0)
	if e != 0 {
		return theirs, "open /dev/null: " + e.Error()
	}
	theirs = [3]int{null, null, null}
	if s.tty {
		return theirs, ""
	}
	if h.Flags&wire.FlagStdin != 0 {
		if theirs[0], s.stdin.fd, e = pipe(); e != 0 {
			return theirs, "pipe: " + e.Error()
		}
		nonBlocking(s.stdin.fd)
		closeFD(&null)
	}
	if s.out.fd, theirs[1], e = pipe(); e != 0 {
		return theirs, "pipe: " + e.Error()
	}
	if s.errs.fd, theirs[2], e = pipe(); e != 0 {
		return theirs, "pipe: " + e.Error()
	}
	nonBlocking(s.out.fd)
	nonBlocking(s.errs.fd)
	return theirs, ""
}

// capacity is how much a pipe or a terminal may hold.
func capacity(fd int) int {
	const getPipeSize, terminal = 1032, 128 << 10
	n, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), getPipeSize, 0)
	if e != 0 {
		return terminal
	}
	return int(n)
}

func pipe() (r, w int, e syscall.Errno) {
	var p [2]int32
	_, _, e = syscall.RawSyscall(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(&p)), syscall.O_CLOEXEC, 0)
	return int(p[0]), int(p[1]), e
}

// copyOutput moves one buffer from the container to the log and the attached clients.
func (s *shim) copyOutput(o *output) (copied int) {
	n, e := read(o.fd, readBuf[:])
	if e == syscall.EAGAIN {
		return 0
	}
	if e != 0 || n == 0 { // EIO: the terminal's last user has closed it
		s.log.end(o)
		closeFD(&o.fd)
		return 0
	}
	op := uint8(wire.OpStdout)
	if o == &s.errs {
		op = wire.OpStderr
	}
	for _, c := range s.conns {
		if c.attached {
			c.send(op, 0, readBuf[:n])
		}
	}
	s.log.add(o, readBuf[:n], now())
	return n
}

// drain takes what the ended container has left in its pipes. Somebody outside of
// its PID namespace may still hold them open: what is there now is all we wait for, and
// no more than a pipe holds, since such a one may write as fast as we read.
func (s *shim) drain(o *output) {
	left := capacity(o.fd)
	for o.fd >= 0 && left > 0 {
		n := s.copyOutput(o)
		if n == 0 {
			break
		}
		left -= n
	}
	s.log.end(o)
	closeFD(&o.fd)
}
