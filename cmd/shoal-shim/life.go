//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// exitStatus is how a process ended.
type exitStatus struct {
	code int
	oom  bool
	at   int64
}

// encode is an OpExit payload: code uint32, oom uint32, nanoseconds uint64.
func (x exitStatus) encode() []byte {
	var b [16]byte
	*(*uint32)(unsafe.Pointer(&b[0])) = uint32(x.code)
	if x.oom {
		b[4] = 1
	}
	*(*int64)(unsafe.Pointer(&b[8])) = x.at
	return b[:]
}

// childSpoke handles a message of the container's first process.
func (s *shim) childSpoke() {
	m, fd, n := receive(s.sync)
	if n < 0 {
		return
	}
	if n == 0 {
		s.childSilent()
		return
	}
	switch m.Kind {
	case wire.MsgMap:
		if what, e := writeMaps(&s.blob, s.init.pid); e != 0 {
			s.abort(what + ": " + e.Error())
			return
		}
		acknowledge(s.sync)
	case wire.MsgPid:
		s.nested(int(m.Value))
	case wire.MsgTTY:
		nonBlocking(fd)
		s.out.fd = fd
		if s.width != 0 && s.hight != 0 {
			setSize(fd, s.width, s.hight)
		}
		acknowledge(s.sync)
	case wire.MsgWarn:
		s.warnings = append(append(s.warnings, s.blob.explain(m)...), '\n')
	case wire.MsgHooks:
		s.hooking = true
		s.tellCreator(wire.OpHooks)
	case wire.MsgReady:
		s.ready = true
		s.tellCreator(wire.OpCreated)
	case wire.MsgFail:
		why := s.blob.explain(m)
		if !s.ready {
			s.abort(why)
			return
		}
		s.failed, s.failCode = why, wire.CodeFailed
	case wire.MsgCmdFail:
		s.failed, s.failCode = s.blob.explain(m), wire.CodeNoRun
		if e := syscall.Errno(m.Value); e == syscall.ENOENT || e == syscall.ENOTDIR {
			s.failCode = wire.CodeNoCommand
		}
	}
}

// nested takes note of the real first process, a child of the one we forked that
// was made ours with CLONE_PARENT.
func (s *shim) nested(pid int) {
	closeFD(&s.pidfd)
	fd, _, e := syscall.RawSyscall(sysPidfdOpen, uintptr(pid), 0, 0)
	if e != 0 {
		s.abort("pidfd_open: " + e.Error())
		return
	}
	s.pidfd = int(fd)
	s.init = process{pid, startTime(pid)}
	s.writeState()
	acknowledge(s.sync)
}

// tellCreator says how far the container is, and which process it is.
func (s *shim) tellCreator(op uint8) {
	if s.creator == nil {
		return
	}
	p := make([]byte, 4, 4+len(s.warnings))
	*(*uint32)(unsafe.Pointer(&p[0])) = uint32(s.init.pid)
	s.creator.send(op, 0, append(p, s.warnings...))
	s.warnings = nil
}

// childSilent: the socket's other end is gone. It closes on execve, so after a
// start without a complaint the command is running.
func (s *shim) childSilent() {
	closeFD(&s.sync)
	if s.maker.pid != 0 {
		return // the runtime is executed: its end tells more
	}
	if !s.ready {
		var status syscall.WaitStatus
		syscall.Kill(s.init.pid, syscall.SIGKILL) // of one that is dying already the first cause counts
		syscall.Wait4(s.init.pid, &status, 0, nil)
		s.diedEarly(exitCode(status))
		return
	}
	if s.startSent && s.failed == "" {
		s.started = now()
		s.writeState()
		s.blob.free()
		if s.starter != nil {
			s.starter.send(wire.OpOK, 0, nil)
		}
	}
	s.starter = s.failStart()
}

// diedEarly gives up: the first process is dead and reaped. A code above 128 is a signal's.
func (s *shim) diedEarly(code int) {
	s.init = process{} // its number may be another's now
	s.abort("the container's first process died while it was made, exit code " + itoa(int64(code)))
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// failStart answers a start whose command did not execute.
func (s *shim) failStart() *conn {
	if s.failed != "" && s.starter != nil {
		s.starter.fail(s.failCode, s.failed)
	}
	return nil
}

// reap collects ended children: init, exec sessions, and orphans of a shared PID namespace.
func (s *shim) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return
		}
		code := exitCode(status)
		if pid == s.init.pid {
			s.initExited(pid, code)
			continue
		}
		if pid == s.maker.pid {
			s.made(code)
			continue
		}
		for _, x := range s.execs {
			if x.pid == pid {
				s.execExited(x, code)
				break
			}
		}
	}
}

func (s *shim) initExited(pid, code int) {
	for s.sync >= 0 { // what it had to say comes first
		m := s.sync
		s.childSpoke()
		if s.sync == m && !readable(m) {
			break
		}
	}
	if s.init.pid != pid {
		return // what it had to say was which process comes after it
	}
	if !s.ready {
		s.diedEarly(code)
	}
	s.drain(&s.out)
	s.drain(&s.errs)
	closeFD(&s.pidfd)
	closeFD(&s.stdin.fd)
	s.exit = exitStatus{code: code, at: now()}
	switch s.failCode {
	case wire.CodeNoCommand:
		s.exit.code = 127
	case wire.CodeNoRun, wire.CodeFailed:
		s.exit.code = 126
	}
	if s.oomPath != "" {
		if b, e := readFile(s.oomPath); e == 0 {
			s.exit.oom = counter(b, "oom_kill") > 0
		}
	}
	s.exited = true
	s.writeExit()
	for _, c := range s.conns {
		if c.attached {
			c.send(wire.OpEOF, 0, nil)
		}
		if c.waiting {
			s.tellExit(c)
		}
	}
	if s.starter != nil {
		s.starter.fail(wire.CodeNotRunning, "the container's first process was killed before its command ran")
		s.starter = nil
	}
}

func readable(fd int) bool {
	p := pollFD{fd: int32(fd), events: pollIn}
	var zero syscall.Timespec
	n, _, _ := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&zero)), 0, 0, 0)
	return n == 1
}

func (s *shim) tellExit(c *conn) {
	c.send(wire.OpExit, 0, append(s.exit.encode(), s.failed...))
	c.waiting = false
}

func (s *shim) writeExit() {
	oom := "0"
	if s.exit.oom {
		oom = "1"
	}
	writeFile(wire.ExitFile, []byte(itoa(int64(s.exit.code))+" "+oom+" "+itoa(s.exit.at)+"\n"+s.failed))
}

func (s *shim) writeState() {
	writeFile(wire.StateFile, []byte(itoa(int64(s.self.pid))+" "+itoa(int64(s.self.start))+" "+
		itoa(int64(s.init.pid))+" "+itoa(int64(s.init.start))+" "+itoa(s.started)+"\n"))
}
