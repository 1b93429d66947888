//go:build linux

package main

import (
	"syscall"
	"unsafe"
)

// pollFD is the kernel's struct pollfd.
type pollFD struct {
	fd              int32
	events, revents int16
}

// pollSet is rebuilt for every wait: there are few descriptors and no state to get wrong.
type pollSet struct{ fds []pollFD }

func (p *pollSet) add(fd int, events int16) {
	if fd >= 0 {
		p.fds = append(p.fds, pollFD{fd: int32(fd), events: events})
	}
}

// ready is what has happened to fd, which may have been added twice: a terminal is read from and written to.
func (p *pollSet) ready(fd int) (events int16) {
	for i := range p.fds {
		if fd >= 0 && p.fds[i].fd == int32(fd) {
			events |= p.fds[i].revents
		}
	}
	return events
}

// loop waits for something to happen and handles it, until the container has
// stopped and everybody who is connected knows.
func (s *shim) loop() syscall.Errno {
	var set pollSet
	for {
		s.prune()
		if s.finished() {
			return 0
		}
		set.fds = set.fds[:0]
		s.watch(&set)
		if e := wait(&set, s.hostPID && !s.exited); e != 0 {
			return e
		}
		s.handle(&set)
	}
}

func (s *shim) watch(set *pollSet) {
	set.add(s.listener, pollIn)
	set.add(s.sync, pollIn)
	if !s.exited {
		set.add(s.pidfd, pollIn)
	}
	if !s.clogged() {
		set.add(s.out.fd, pollIn)
		set.add(s.errs.fd, pollIn)
	}
	if len(s.stdin.pending) > 0 {
		set.add(s.stdin.target(s), pollOut)
	}
	for _, c := range s.conns {
		events := int16(0)
		if !c.attached || len(s.stdin.pending) == 0 {
			events |= pollIn
		}
		if len(c.out) > 0 {
			events |= pollOut
		}
		set.add(c.fd, events)
	}
	for _, x := range s.execs {
		set.add(x.sync, pollIn)
		set.add(x.pidfd, pollIn)
	}
}

// wait blocks in ppoll. With orphans of a shared PID namespace to collect, at most a second.
func wait(set *pollSet, tick bool) syscall.Errno {
	var timeout *syscall.Timespec
	if tick {
		timeout = &syscall.Timespec{Sec: 1}
	}
	_, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(set.fds))), uintptr(len(set.fds)),
		uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	if e == syscall.EINTR {
		for i := range set.fds {
			set.fds[i].revents = 0
		}
		return 0
	}
	return e
}

func (s *shim) handle(set *pollSet) {
	if set.ready(s.sync) != 0 {
		s.childSpoke()
	}
	for _, x := range s.execs {
		if set.ready(x.sync) != 0 {
			s.execSpoke(x)
		}
	}
	if set.ready(s.out.fd)&^pollOut != 0 && !s.clogged() {
		s.copyOutput(&s.out)
	}
	if set.ready(s.errs.fd) != 0 && !s.clogged() {
		s.copyOutput(&s.errs)
	}
	if t := s.stdin.target(s); set.ready(t)&(pollOut|pollErr|pollHup) != 0 {
		s.stdin.flush(s)
	}
	s.reap()
	for _, c := range s.conns {
		r := set.ready(c.fd)
		if r&pollOut != 0 {
			c.flush()
		}
		if r&(pollIn|pollHup|pollErr) != 0 {
			s.serve(c)
		}
	}
	if set.ready(s.listener) != 0 {
		s.accept()
	}
}

// serve handles every complete request that has arrived on c.
func (s *shim) serve(c *conn) {
	for !c.dead && c.recv() {
		s.request(c)
		if c.attached && len(s.stdin.pending) > 0 {
			return // the container is slow to read: let the rest wait in the socket
		}
	}
	if c.dead && c == s.creator && !s.ready && s.init.pid == 0 && s.maker.pid == 0 {
		syscall.Exit(1) // the daemon died before it had sent everything; nothing was made
	}
}

// clogged says that an attached client is too slow.
func (s *shim) clogged() bool {
	for _, c := range s.conns {
		if c.attached && len(c.out) > maxPending {
			return true
		}
	}
	return false
}

func (s *shim) prune() {
	n := 0
	for _, c := range s.conns {
		if c.dead {
			s.forget(c)
			continue
		}
		s.conns[n] = c
		n++
	}
	clear(s.conns[n:])
	s.conns = s.conns[:n]
}

func (s *shim) forget(c *conn) {
	if s.creator == c {
		s.creator = nil
	}
	if s.starter == c {
		s.starter = nil
	}
	if c.exec != nil {
		if c.exec.tied {
			syscall.Kill(c.exec.pid, syscall.SIGKILL) // not reaped yet: it is nobody else's pid
		}
		c.exec.conn = nil
	}
	s.spareConn = c
}

// finished is true when the container has stopped, its end is on disk and no
// answer is still on its way.
func (s *shim) finished() bool {
	if !s.exited {
		return false
	}
	for _, c := range s.conns {
		if len(c.out) > 0 {
			return false
		}
	}
	return true
}
