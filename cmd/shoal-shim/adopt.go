//go:build linux

package main

import (
	"syscall"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// maker is the other OCI runtime that makes this container, while it runs. What it leaves behind is an orphan, and orphans
// come to us.
type maker struct {
	pid     int // 0: nobody is at work
	pidFile string
}

// made takes over the container that an OCI runtime has made, or gives up.
func (s *shim) made(code int) {
	s.maker.pid = 0
	closeFD(&s.sync)
	closeFD(&s.pidfd)
	if code != 0 {
		if s.failed == "" {
			s.failed = "the runtime ended with exit code " + itoa(int64(code))
		}
		s.abort(s.failed)
		return
	}
	b, e := readFile(s.maker.pidFile)
	pid := int(number(b))
	if e != 0 || pid == 0 {
		s.abort("the runtime did not say which process it has made")
		return
	}
	fd, _, e := syscall.RawSyscall(sysPidfdOpen, uintptr(pid), 0, 0)
	if e != 0 {
		s.abort("pidfd_open: " + e.Error())
		return
	}
	s.pidfd = int(fd)
	s.init = process{pid, startTime(pid)}
	s.ready = true
	s.blob.free()
	s.writeState()
	s.tellCreator(wire.OpCreated)
}

// startMade notes that the runtime is about to let the command run.
func (s *shim) startMade(c *conn) {
	s.startSent, s.started = true, now()
	s.writeState()
	c.send(wire.OpOK, 0, nil)
}

// console takes the terminal that the runtime has made.
func (s *shim) console(c *conn) {
	if c.nfds != 1 || !s.tty || s.out.fd >= 0 {
		c.fail(wire.CodeState, "no terminal is waited for")
		return
	}
	s.out.fd, c.nfds = c.fds[0], 0
	nonBlocking(s.out.fd)
	if s.width != 0 && s.hight != 0 {
		setSize(s.out.fd, s.width, s.hight)
	}
	c.send(wire.OpOK, 0, nil)
}
