//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// maxPending is how much output may wait for a slow attached client before the
// container's output is no longer read. Nothing is lost; the writer waits, as it
// would on a terminal.
const maxPending = 64 << 10

// conn is one connection of the daemon.
type conn struct {
	fd       int
	hdr      [wire.FrameSize]byte
	hn       int
	body     []byte
	mapped   bool // body is not on the Go heap
	bn       int
	fds      [3]int // received descriptors
	nfds     int
	out      []byte
	sendFD   int // to travel with the next bytes of out
	attached bool
	waiting  bool     // for the container's end
	forExec  bool     // it is about one more process, not about the container's first
	exec     *session // that process, while it is there
	busy     bool     // an answer is owed
	dead     bool
}

func (s *shim) listen() syscall.Errno {
	name := cstring(wire.SocketFile)
	syscall.RawSyscall(syscall.SYS_UNLINKAT, atCwd, uintptr(unsafe.Pointer(&name[0])), 0)
	fd, _, e := syscall.RawSyscall(syscall.SYS_SOCKET, syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if e != 0 {
		return e
	}
	// Relative to our working directory, the container's: no limit of 108 bytes for its path.
	sa := syscall.RawSockaddrUnix{Family: syscall.AF_UNIX}
	for i := range wire.SocketFile {
		*(*byte)(unsafe.Pointer(&sa.Path[i])) = wire.SocketFile[i] // int8 or uint8, by architecture
	}
	if _, _, e = syscall.RawSyscall(syscall.SYS_BIND, fd, uintptr(unsafe.Pointer(&sa)), uintptr(2+len(wire.SocketFile)+1)); e != 0 {
		return e
	}
	if _, _, e = syscall.RawSyscall(syscall.SYS_LISTEN, fd, 128, 0); e != 0 {
		return e
	}
	s.listener = int(fd)
	return 0
}

func (s *shim) accept() {
	for {
		fd, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(s.listener), 0, 0, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0, 0)
		if e != 0 {
			return
		}
		var cred syscall.Ucred
		size := uint32(unsafe.Sizeof(cred))
		_, _, e = syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED,
			uintptr(unsafe.Pointer(&cred)), uintptr(unsafe.Pointer(&size)), 0)
		if e != 0 || int(cred.Uid) != syscall.Geteuid() {
			n := int(fd)
			closeFD(&n)
			continue
		}
		s.adopt(int(fd))
	}
}

func (s *shim) adopt(fd int) *conn {
	nonBlocking(fd)
	c := s.spareConn
	if s.spareConn = nil; c == nil {
		c = new(conn)
	}
	*c = conn{fd: fd, sendFD: noFD, out: c.out[:0]}
	s.conns = append(s.conns, c)
	return c
}

func (c *conn) close() {
	closeFD(&c.fd)
	closeFD(&c.sendFD)
	c.dropFDs()
	c.dropBody()
	c.dead, c.attached, c.waiting, c.out = true, false, false, c.out[:0]
	c.trim()
}

func (c *conn) dropFDs() {
	for i := range c.nfds {
		closeFD(&c.fds[i])
	}
	c.nfds = 0
}

func (c *conn) dropBody() {
	if c.mapped {
		munmap(c.body)
	}
	c.body, c.mapped = nil, false
}

// send queues a frame and writes what the socket takes.
func (c *conn) send(op uint8, arg uint16, payload []byte) {
	if c.dead {
		return
	}
	n := len(payload)
	c.out = append(c.out, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), wire.Version, op, byte(arg), byte(arg>>8))
	c.out = append(c.out, payload...)
	c.busy = false
	c.flush()
}

func (c *conn) fail(code uint16, text string) { c.send(wire.OpErr, code, []byte(text)) }

func (c *conn) flush() {
	for len(c.out) > 0 && !c.dead {
		n, e := c.write()
		if e == syscall.EAGAIN {
			return
		}
		if e != 0 {
			c.close()
			return
		}
		closeFD(&c.sendFD)
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	c.trim()
}

// trim keeps no more than a little memory for the next answer.
func (c *conn) trim() {
	if cap(c.out) > 4096 {
		c.out = nil
	}
}

func (c *conn) write() (int, syscall.Errno) {
	iov := syscall.Iovec{Base: &c.out[0]}
	iov.SetLen(len(c.out))
	hdr := syscall.Msghdr{Iov: &iov}
	hdr.Iovlen = 1
	var oob [24]byte
	if c.sendFD >= 0 {
		*(*uint64)(unsafe.Pointer(&oob[0])) = 20
		*(*int32)(unsafe.Pointer(&oob[8])) = syscall.SOL_SOCKET
		*(*int32)(unsafe.Pointer(&oob[12])) = syscall.SCM_RIGHTS
		*(*int32)(unsafe.Pointer(&oob[16])) = int32(c.sendFD)
		hdr.Control = &oob[0]
		hdr.SetControllen(len(oob))
	}
	for {
		n, _, e := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&hdr)), syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
		if e != syscall.EINTR {
			return int(n), e
		}
	}
}

// recv reads what is there, at most up to the end of one frame. It reports whether
// a frame is complete; a closed connection is marked dead.
func (c *conn) recv() bool {
	for {
		dst := c.hdr[c.hn:]
		if c.hn == len(c.hdr) {
			if c.bn == len(c.body) {
				return true
			}
			dst = c.body[c.bn:]
		}
		n, e := c.readMsg(dst)
		if e == syscall.EAGAIN {
			return false
		}
		if e != 0 || n == 0 {
			c.close()
			return false
		}
		if c.hn < len(c.hdr) {
			if c.hn += n; c.hn == len(c.hdr) && !c.room() {
				c.close()
				return false
			}
			continue
		}
		c.bn += n
	}
}

// room gets memory for the body that the header announces.
func (c *conn) room() bool {
	size := int(uint32(c.hdr[0]) | uint32(c.hdr[1])<<8 | uint32(c.hdr[2])<<16 | uint32(c.hdr[3])<<24)
	c.bn = 0
	if size > wire.MaxFrame {
		return false
	}
	if size <= 4096 {
		c.body = make([]byte, size)
		return true
	}
	mem, e := mmap(size)
	c.body, c.mapped = mem, e == 0
	return e == 0
}

func (c *conn) readMsg(dst []byte) (int, syscall.Errno) {
	var oob [64]byte
	iov := syscall.Iovec{Base: &dst[0]}
	iov.SetLen(len(dst))
	hdr := syscall.Msghdr{Iov: &iov, Control: &oob[0]}
	hdr.Iovlen = 1
	hdr.SetControllen(len(oob))
	n, _, e := syscall.RawSyscall(syscall.SYS_RECVMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&hdr)), syscall.MSG_DONTWAIT|syscall.MSG_CMSG_CLOEXEC)
	if e == syscall.EINTR {
		return 0, syscall.EAGAIN
	}
	if e == 0 && hdr.Controllen >= 20 {
		count := int(*(*uint64)(unsafe.Pointer(&oob[0]))-16) / 4
		for i := range count {
			fd := int(*(*int32)(unsafe.Pointer(&oob[16+4*i])))
			if c.nfds < len(c.fds) {
				c.fds[c.nfds] = fd
				c.nfds++
			} else {
				closeFD(&fd)
			}
		}
	}
	return int(n), e
}

// take hands over the complete frame and gets ready for the next one.
func (c *conn) take() (op uint8, arg uint16, body []byte, mapped bool) {
	op, arg = c.hdr[5], uint16(c.hdr[6])|uint16(c.hdr[7])<<8
	body, mapped = c.body, c.mapped
	c.body, c.mapped, c.hn, c.bn = nil, false, 0, 0
	return op, arg, body, mapped
}
