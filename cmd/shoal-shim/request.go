//go:build linux

package main

import (
	"syscall"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// request handles one frame.
func (s *shim) request(c *conn) {
	ver := c.hdr[4]
	op, arg, body, mapped := c.take()
	keep := false
	defer func() {
		if mapped && !keep {
			munmap(body)
		}
	}()
	if ver != wire.Version {
		c.fail(wire.CodeVersion, "shim speaks protocol version "+itoa(wire.Version)+", not "+itoa(int64(ver)))
		return
	}
	switch op {
	case wire.OpCreate:
		keep = true
		s.create(c, heapless(body, mapped))
	case wire.OpStart:
		s.start(c)
	case wire.OpKill:
		s.kill(c, syscall.Signal(arg))
	case wire.OpResize:
		s.resize(c, body)
	case wire.OpWait:
		c.waiting = true
		if s.exited {
			s.tellExit(c)
		}
	case wire.OpAttach:
		c.send(wire.OpOK, 0, nil)
		c.attached = true
	case wire.OpGoOn:
		s.goOn(c)
	case wire.OpConsole:
		s.console(c)
	case wire.OpRunExec:
		keep, c.forExec = true, true
		s.runExec(c, heapless(body, mapped), arg)
	case wire.OpStdin:
		s.stdin.pending = append(s.stdin.pending, body...)
		s.stdin.flush(s)
	case wire.OpStdinClose:
		s.stdin.closing = true
		s.stdin.flush(s)
	default:
		c.fail(wire.CodeFailed, "unknown request "+itoa(int64(op)))
	}
}

// heapless makes sure that a blob lies outside of the Go heap: addresses into it
// are plain numbers, and it has to go back to the kernel afterwards.
func heapless(body []byte, mapped bool) []byte {
	if mapped || len(body) == 0 {
		return body
	}
	mem, e := mmap(len(body))
	if e != 0 {
		return nil
	}
	copy(mem, body)
	return mem
}

func (s *shim) create(c *conn, mem []byte) {
	b, ok := load(mem)
	if !ok || s.init.pid != 0 {
		munmap(mem)
		c.fail(wire.CodeVersion, "shim and daemon do not understand each other: the program is malformed")
		return
	}
	s.blob = b
	h := b.hdr
	s.tty, s.hostPID = h.Flags&wire.FlagTTY != 0, h.Flags&wire.FlagNoPID != 0
	s.width, s.hight = h.Width, h.Height
	s.oomPath = b.text(h.OOMFile)
	s.log.path, s.log.max, s.log.files = b.text(h.LogPath), int64(h.LogMax), int(h.LogFiles)
	if h.Flags&wire.FlagAttrs != 0 {
		s.log.attrs = `"attrs":` + b.behind(h.LogPath) + ","
	}
	if e := s.log.open(); e != 0 {
		s.abort("open log " + s.log.path + ": " + e.Error())
		return
	}
	stdio, why := s.makeStdio(h)
	if why != "" {
		s.abort(why)
		return
	}
	ch, why := s.launch(&s.blob, stdio, noFD)
	for i := range stdio {
		if i == 0 || stdio[i] != stdio[0] {
			fd := stdio[i]
			closeFD(&fd)
		}
	}
	if why != "" {
		s.abort(why)
		return
	}
	s.sync, s.pidfd = ch.sync, ch.pidfd
	if h.Flags&wire.FlagAdopt != 0 {
		s.adopted, s.maker = true, maker{ch.pid, b.text(h.PidFile)}
		return
	}
	s.init = process{ch.pid, startTime(ch.pid)}
	s.writeState()
}

// abort ends a shim whose container could not be made.
func (s *shim) abort(why string) {
	if s.init.pid != 0 {
		syscall.Kill(s.init.pid, syscall.SIGKILL)
	}
	if s.maker.pid != 0 {
		syscall.Kill(s.maker.pid, syscall.SIGKILL)
	}
	if s.creator != nil {
		s.creator.fail(wire.CodeFailed, why)
	}
	syscall.Exit(1)
}

// goOn lets the child enter its root: the hooks have run.
func (s *shim) goOn(c *conn) {
	if !s.hooking {
		c.fail(wire.CodeState, "the container does not wait for hooks")
		return
	}
	s.hooking, s.creator = false, c
	if e := acknowledge(s.sync); e != 0 {
		s.abort("the container's first process is gone: " + e.Error())
	}
}

func (s *shim) start(c *conn) {
	switch {
	case s.exited:
		c.fail(wire.CodeNotRunning, "container has stopped")
	case !s.ready || s.startSent:
		c.fail(wire.CodeState, "container was started before")
	case s.adopted:
		s.startMade(c)
	default:
		s.startSent = true
		s.starter, c.busy = c, true
		if e := acknowledge(s.sync); e != 0 {
			s.starter = nil
			c.fail(wire.CodeNotRunning, "init is gone: "+e.Error())
		}
	}
}

func (s *shim) kill(c *conn, sig syscall.Signal) {
	pid := s.init.pid
	switch {
	case c.exec != nil:
		pid = c.exec.pid
	case c.forExec, s.exited: // what comes late to another process is not the first one's
		pid = 0
	}
	if pid == 0 {
		c.fail(wire.CodeNotRunning, "process has ended")
		return
	}
	// Not reaped yet, so the pid cannot belong to anybody else.
	if e := syscall.Kill(pid, sig); e != nil {
		c.fail(wire.CodeFailed, "kill: "+e.Error())
		return
	}
	c.send(wire.OpOK, 0, nil)
}

func (s *shim) resize(c *conn, body []byte) {
	if !s.tty || len(body) < 4 {
		c.fail(wire.CodeState, "container has no terminal")
		return
	}
	s.width, s.hight = uint16(body[0])|uint16(body[1])<<8, uint16(body[2])|uint16(body[3])<<8
	if s.out.fd >= 0 {
		if e := setSize(s.out.fd, s.width, s.hight); e != 0 {
			c.fail(wire.CodeFailed, "resize: "+e.Error())
			return
		}
	}
	c.send(wire.OpOK, 0, nil)
}
