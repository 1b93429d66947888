//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// newPidfd is where clone3 puts the child's pidfd: a global, because a stack may move.
var newPidfd int32

// child is what launch gives back.
type child struct {
	pid, pidfd, sync int
}

// launch forks a child that runs b with the given standard streams. pidfd is that
// of the container's PID 1 for execs, -1 otherwise.
func (s *shim) launch(b *blob, stdio [3]int, pidfd int) (c child, why string) {
	h := b.hdr
	var pair [2]int32
	if _, _, e := syscall.RawSyscall6(syscall.SYS_SOCKETPAIR, syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0,
		uintptr(unsafe.Pointer(&pair)), 0, 0); e != 0 {
		return c, "socketpair: " + e.Error()
	}
	c.sync = int(pair[0])
	theirs := int(pair[1])
	defer closeFD(&theirs)
	fail := func(what string, e syscall.Errno) (child, string) {
		closeFD(&c.sync)
		return c, what + ": " + e.Error()
	}
	for i := range regs {
		regs[i] = 0
	}
	regs[wire.RegSync] = uintptr(theirs)
	regs[wire.RegStdin], regs[wire.RegStdout], regs[wire.RegStderr] = uintptr(stdio[0]), uintptr(stdio[1]), uintptr(stdio[2])
	regs[wire.RegPidfd] = uintptr(pidfd)

	defer func() { closeOpens(b) }()
	for i := uint32(0); i < h.NOpen; i++ {
		o := b.open(i)
		fd, e := open(b.view(o.Path), int(o.Flags), 0)
		if e != 0 {
			return fail("open "+b.text(o.Path), e)
		}
		regs[o.Reg&(wire.NumRegs-1)] = uintptr(fd)
	}
	args := cloneArgs{flags: h.CloneFlags | clonePidfd, exitSignal: uint64(syscall.SIGCHLD)}
	args.pidfd = uint64(uintptr(unsafe.Pointer(&newPidfd)))
	if h.Cgroup != 0 {
		args.flags |= cloneIntoCgroup
		args.cgroup = uint64(regs[h.Cgroup&(wire.NumRegs-1)])
	}
	if !keepRegisters(b) {
		return fail("fork", syscall.EMFILE)
	}
	back, what, e := s.enter(b, pidfd)
	if e == 0 {
		p := program{instrs: uintptr(unsafe.Pointer(&b.mem[unsafe.Sizeof(wire.Header{})])), count: h.NInstr}
		var pid uintptr
		pid, e = spawn(&p, &args)
		what = "fork the container's first process"
		c.pid, c.pidfd = int(pid), int(newPidfd)
	}
	for n, fd := range back { // our own namespaces again
		if fd > 0 {
			if _, _, e2 := syscall.RawSyscall(sysSetns, uintptr(fd), uintptr(nsTypes[n].flag), 0); e2 != 0 && e == 0 {
				e, what = e2, "leave namespace "+nsTypes[n].name
			}
			closeFD(&back[n])
		}
	}
	if e != 0 {
		return fail(what, e)
	}
	return c, ""
}

// keepRegisters lets the child keep what its registers hold and nothing else:
// above all not our listener, our connections and the lock.
func keepRegisters(b *blob) (ok bool) {
	ok = true
	keep = [len(keep)]uint64{}
	hold := func(r uint32) {
		if fd := regs[r&(wire.NumRegs-1)]; fd < 64*uintptr(len(keep)) {
			keep[fd>>6] |= 1 << (fd & 63)
			return
		}
		ok = false
	}
	for r := uint32(wire.RegSync); r <= wire.RegPidfd; r++ {
		if int(regs[r]) != noFD {
			hold(r)
		}
	}
	for i := uint32(0); i < b.hdr.NOpen; i++ {
		hold(b.open(i).Reg)
	}
	return ok
}

// closeOpens drops the files opened for the child.
func closeOpens(b *blob) {
	for i := uint32(0); i < b.hdr.NOpen; i++ {
		if r := b.open(i).Reg & (wire.NumRegs - 1); regs[r] != 0 {
			fd := int(regs[r])
			closeFD(&fd)
			regs[r] = 0
		}
	}
}

// nsTypes are the namespaces a thread of ours may enter and leave again.
var nsTypes = [...]struct {
	flag      uint32
	name, own string
}{
	{syscall.CLONE_NEWNET, "net", "/proc/thread-self/ns/net"},
	{syscall.CLONE_NEWIPC, "ipc", "/proc/thread-self/ns/ipc"},
	{syscall.CLONE_NEWUTS, "uts", "/proc/thread-self/ns/uts"},
	{0x02000000, "cgroup", "/proc/thread-self/ns/cgroup"},
	{syscall.CLONE_NEWPID, "pid", "/proc/thread-self/ns/pid"},
}

// enter joins the namespaces that the child has to be born into and returns
// handles to our own ones.
func (s *shim) enter(b *blob, pidfd int) (back [len(nsTypes)]int, what string, err syscall.Errno) {
	for i := uint32(0); i < b.hdr.NJoin; i++ {
		j := b.join(i)
		n := 0
		for n < len(nsTypes)-1 && nsTypes[n].flag != j.Type {
			n++
		}
		own, e := open(nsTypes[n].own, syscall.O_RDONLY, 0)
		if e == 0 {
			if e = join(b.view(j.Path), pidfd, j.Type); e != 0 {
				closeFD(&own)
			}
		}
		if e != 0 {
			return back, "enter namespace " + nsTypes[n].name + " " + b.text(j.Path), e
		}
		back[n] = own
	}
	return back, "", 0
}

// join enters the namespace at a path, or without one that of a process.
func join(path []byte, pidfd int, kind uint32) (e syscall.Errno) {
	fd := pidfd
	if len(path) > 0 {
		if fd, e = open(path, syscall.O_RDONLY, 0); e != 0 {
			return e
		}
		defer closeFD(&fd)
	}
	_, _, e = syscall.RawSyscall(sysSetns, uintptr(fd), uintptr(kind), 0)
	return e
}

// receive reads one message of a child and the descriptor it may carry.
func receive(sync int) (m wire.Msg, fd int, n int) {
	fd = noFD
	var oob [64]byte
	iov := syscall.Iovec{Base: (*byte)(unsafe.Pointer(&m))}
	iov.SetLen(int(unsafe.Sizeof(m)))
	hdr := syscall.Msghdr{Iov: &iov, Control: &oob[0]}
	hdr.Iovlen = 1
	hdr.SetControllen(len(oob))
	r, _, e := syscall.Syscall(syscall.SYS_RECVMSG, uintptr(sync), uintptr(unsafe.Pointer(&hdr)),
		uintptr(syscall.MSG_DONTWAIT|syscall.MSG_CMSG_CLOEXEC))
	if e == syscall.EAGAIN || e == syscall.EINTR {
		return m, fd, -1
	}
	if e != 0 {
		return m, fd, 0
	}
	if hdr.Controllen >= 20 {
		fd = int(*(*int32)(unsafe.Pointer(&oob[16])))
	}
	return m, fd, int(r)
}

// acknowledge lets a waiting child go on.
func acknowledge(sync int) syscall.Errno {
	b := [1]byte{1}
	_, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(sync), uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_NOSIGNAL, 0, 0)
	return e
}

// writeMaps gives a child's user namespace its ids.
func writeMaps(b *blob, pid int) (string, syscall.Errno) {
	for _, m := range [...]struct {
		file string
		text wire.Span
	}{{"uid_map", b.hdr.UIDMap}, {"gid_map", b.hdr.GIDMap}} {
		path := "/proc/" + itoa(int64(pid)) + "/" + m.file
		fd, e := open(path, syscall.O_WRONLY, 0)
		if e == 0 {
			e = writeAll(fd, b.view(m.text))
			closeFD(&fd)
		}
		if e != 0 {
			return "write " + m.file, e
		}
	}
	return "", 0
}

// setSize sets a terminal's size.
func setSize(master int, width, height uint16) syscall.Errno {
	ws := [4]uint16{height, width}
	_, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(master), tiocswinsz, uintptr(unsafe.Pointer(&ws)))
	return e
}
