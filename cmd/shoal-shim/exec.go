//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// session is one more process in the container. Its streams belong to the daemon;
// the shim starts it, signals it and says how it ended.
type session struct {
	pid, pidfd, sync, tty int
	conn                  *conn
	blob                  blob
	tied                  bool // to its connection
	failCode              uint16
	failed                string
}

// alive says whether a process may be added: a user's to a container that runs, a hook's also while it is made.
func (s *shim) alive(hook bool) bool {
	return !s.exited && (s.started != 0 || hook && (s.hooking || s.ready))
}

func (s *shim) runExec(c *conn, mem []byte, arg uint16) {
	b, ok := load(mem)
	switch {
	case !ok:
		munmap(mem)
		c.fail(wire.CodeVersion, "shim and daemon do not understand each other: the program is malformed")
		return
	case !s.alive(arg == wire.ExecHook) || c.exec != nil:
		munmap(mem)
		c.fail(wire.CodeNotRunning, "container is not running")
		return
	}
	x := s.spareExec
	if s.spareExec = nil; x == nil {
		x = new(session)
	}
	*x = session{conn: c, blob: b, tty: noFD, tied: arg == wire.ExecTied}
	stdio := c.fds
	if c.nfds < 3 {
		null, e := open("/dev/null", syscall.O_RDWR, 0)
		if e != 0 {
			c.fail(wire.CodeFailed, "open /dev/null: "+e.Error())
			x.blob.free()
			return
		}
		defer closeFD(&null)
		stdio = [3]int{null, null, null}
	}
	ch, why := s.launch(&x.blob, stdio, s.pidfd)
	c.dropFDs()
	if why != "" {
		x.blob.free()
		c.fail(wire.CodeFailed, why)
		return
	}
	x.pid, x.pidfd, x.sync = ch.pid, ch.pidfd, ch.sync
	c.exec, c.busy = x, true
	s.execs = append(s.execs, x)
}

func (s *shim) execSpoke(x *session) {
	m, fd, n := receive(x.sync)
	if n < 0 {
		return
	}
	if n == 0 {
		closeFD(&x.sync)
		s.execSilent(x)
		return
	}
	switch m.Kind {
	case wire.MsgTTY:
		x.tty = fd
		if h := x.blob.hdr; h.Width != 0 && h.Height != 0 {
			setSize(fd, h.Width, h.Height)
		}
		acknowledge(x.sync)
	case wire.MsgFail:
		x.failed, x.failCode = x.blob.explain(m), wire.CodeFailed
	case wire.MsgCmdFail:
		x.failed, x.failCode = x.blob.explain(m), wire.CodeNoRun
		if e := syscall.Errno(m.Value); e == syscall.ENOENT || e == syscall.ENOTDIR {
			x.failCode = wire.CodeNoCommand
		}
	}
}

// execSilent: the command runs, or the complaint has arrived.
func (s *shim) execSilent(x *session) {
	if x.failed == "" && x.conn != nil {
		var p [4]byte
		*(*uint32)(unsafe.Pointer(&p[0])) = uint32(x.pid)
		x.conn.sendFD, x.tty = x.tty, noFD
		x.conn.send(wire.OpCreated, 0, p[:])
	} else if x.conn != nil {
		x.conn.fail(x.failCode, x.failed)
	}
	closeFD(&x.tty)
	x.blob.free()
}

func (s *shim) execExited(x *session, code int) {
	for x.sync >= 0 {
		if !readable(x.sync) {
			closeFD(&x.sync)
			break
		}
		s.execSpoke(x)
	}
	closeFD(&x.pidfd)
	if x.conn != nil {
		x.conn.exec = nil
		if x.failed == "" {
			x.conn.send(wire.OpExit, 0, exitStatus{code: code, at: now()}.encode())
		}
	}
	n := 0
	for _, o := range s.execs {
		if o != x {
			s.execs[n] = o
			n++
		}
	}
	clear(s.execs[n:])
	s.execs, s.spareExec = s.execs[:n], x
}
