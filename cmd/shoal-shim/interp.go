//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// regs are the registers of the program being run. The child has a copy of its own.
var regs [wire.NumRegs]uintptr

// The child's scratch memory. Globals, because its stack must stay small.
var (
	scratch [4096]byte
	siginfo [128]byte
	msg     wire.Msg
	nullAct [32]byte   // struct sigaction with SIG_DFL
	argv    [2]uintptr // from where to where this process's arguments lie
	keep    [64]uint64 // descriptors the child keeps, a bit each; above them it has none
)

// program is what the interpreter needs to know; plain words, because a child of
// a Go process must not meet the garbage collector.
type program struct {
	instrs uintptr
	count  uint32
}

// spawn forks and, in the child, interprets p. It returns the pid or an errno in
// the parent only.
//
// Between clone3 and execve the child is one thread with a copy of the Go heap
// and no scheduler. It must not be preempted, grow its stack, allocate or take a
// lock: it runs only nosplit functions, with all signals blocked. It stays
// single-threaded, which is what allows it to enter user, time and mount namespaces.
//
//go:nosplit
//go:norace
//go:nocheckptr
func spawn(p *program, args *cloneArgs) (pid uintptr, err syscall.Errno) {
	all, old := ^uint64(0), uint64(0)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, _, err = syscall.RawSyscall(sysClone3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if err == 0 && pid == 0 {
		hideArgs()
		interpret(p)
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, err
}

// findArgs remembers where the kernel reads /proc/PID/cmdline.
func findArgs() {
	pid := syscall.Getpid()
	argv = [2]uintptr{uintptr(statField(pid, 48)), uintptr(statField(pid, 49))}
}

// hideArgs leaves of the arguments the program's name: the container sees the child, until it executes its command or for good if it
// stays as a reaper, and where the host keeps its containers is none of its business.
//
//go:nosplit
//go:norace
//go:nocheckptr
func hideArgs() {
	for at := argv[0] + uintptr(len("shoal-shim")); at < argv[1]; at++ {
		**(**byte)(unsafe.Pointer(&at)) = 0
	}
}

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// dropOthers closes what the child does not keep, a gap at a time.
//
//go:nosplit
//go:norace
//go:nocheckptr
func dropOthers() {
	from := uintptr(3)
	for fd := from; fd < 64*uintptr(len(keep)); fd++ {
		if keep[fd>>6]&(1<<(fd&63)) != 0 {
			if from < fd {
				syscall.RawSyscall(sysCloseRange, from, fd-1, 0)
			}
			from = fd + 1
		}
	}
	syscall.RawSyscall(sysCloseRange, from, ^uintptr(0)>>32, 0)
}

//go:nosplit
//go:norace
//go:nocheckptr
func interpret(p *program) {
	dropOthers()
	pc := uint32(0)
	for pc < p.count {
		in := (*wire.Instr)(address(p.instrs + uintptr(pc)*unsafe.Sizeof(wire.Instr{})))
		a0, a1, a2 := arg(in, 0), arg(in, 1), arg(in, 2)
		var r uintptr
		var err syscall.Errno
		next := pc + 1
		switch in.NR {
		default:
			r, _, err = syscall.RawSyscall6(uintptr(in.NR), a0, a1, a2, arg(in, 3), arg(in, 4), arg(in, 5))
		case wire.DoStore32:
			*(*uint32)(address(a0)) = uint32(a1)
		case wire.DoAwait:
			n, _, _ := syscall.RawSyscall(syscall.SYS_READ, regs[wire.RegSync], uintptr(unsafe.Pointer(&scratch)), 1)
			if n != 1 {
				exit(1)
			}
		case wire.DoExec:
			_, _, err = syscall.RawSyscall(syscall.SYS_EXECVE, a0, a1, a2)
			switch err {
			case syscall.ENOENT, syscall.ENOTDIR:
				err = 0
			case syscall.EACCES:
				regs[wire.RegExec] = uintptr(err)
				err = 0
			default:
				report(wire.MsgCmdFail, pc, err)
				exit(126)
			}
		case wire.DoExecFail:
			err = syscall.Errno(regs[wire.RegExec])
			if err == 0 {
				err = syscall.ENOENT
			}
			report(wire.MsgCmdFail, pc, err)
			exit(127)
		case wire.DoCheckCwd:
			n, _, e := syscall.RawSyscall(syscall.SYS_GETCWD, uintptr(unsafe.Pointer(&scratch)), uintptr(len(scratch)), 0)
			err = e
			if err == 0 && (n == 0 || scratch[0] != '/') {
				err = syscall.EXDEV // outside of the root: the kernel says "(unreachable)"
			}
		case wire.DoFork:
			r, err = fork(a0)
			if err == 0 && r != 0 { // parent
				regs[in.Dst] = r
				pc = uint32(in.OnOK)
				continue
			}
			if err == 0 {
				pc = next
				continue
			}
		case wire.DoReap:
			reap(a0)
		case wire.DoExit:
			exit(a0)
		case wire.DoSignals:
			for sig := uintptr(1); sig <= 64; sig++ {
				syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&nullAct)), 0, 8, 0, 0)
			}
			*(*uint64)(unsafe.Pointer(&scratch)) = 0
			syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&scratch)), 0, 8, 0, 0)
		}
		if err != 0 && err == syscall.Errno(in.OkErr) {
			err = 0
		}
		switch {
		case err == 0:
			if in.Dst != 0 {
				regs[in.Dst] = r
			}
			if in.OnOK != 0 {
				next = uint32(in.OnOK)
			}
		case in.Fail == wire.FailIgnore:
		case in.Fail == wire.FailWarn:
			report(wire.MsgWarn, pc, err)
		case in.Fail == wire.FailJump:
			next = uint32(in.OnErr)
		default:
			report(wire.MsgFail, pc, err)
			exit(1)
		}
		pc = next
	}
	exit(1)
}

// address makes a pointer of a number; what it points at lies outside of the Go heap.
//
//go:nosplit
func address(a uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

//go:nosplit
func arg(in *wire.Instr, i uint) uintptr {
	if in.Regs&(1<<i) != 0 {
		return regs[in.Args[i]&(wire.NumRegs-1)]
	}
	return uintptr(in.Args[i])
}

//go:nosplit
func report(kind, pc uint32, err syscall.Errno) {
	msg = wire.Msg{Kind: kind, PC: pc, Value: uint32(err)}
	syscall.RawSyscall(syscall.SYS_WRITE, regs[wire.RegSync], uintptr(unsafe.Pointer(&msg)), unsafe.Sizeof(msg))
}

//go:nosplit
func exit(code uintptr) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// fork is clone with flags and the usual exit signal; no memory is shared.
//
//go:nosplit
func fork(flags uintptr) (uintptr, syscall.Errno) {
	r, _, err := syscall.RawSyscall6(syscall.SYS_CLONE, flags|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	return r, err
}

// reap is the life of a PID 1 in front of the user's command: it hands signals on
// to the child, collects orphans and ends as the child ends. All signals are
// blocked and taken with rt_sigtimedwait, so no handler is ever needed.
//
//go:nosplit
//go:nocheckptr
func reap(child uintptr) {
	syscall.RawSyscall(sysCloseRange, 0, ^uintptr(0)>>32, 0)
	for {
		*(*uint64)(unsafe.Pointer(&scratch)) = ^uint64(0)
		sig, _, err := syscall.RawSyscall6(syscall.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&scratch)),
			uintptr(unsafe.Pointer(&siginfo)), 0, 8, 0, 0)
		if err != 0 {
			continue
		}
		if sig != uintptr(syscall.SIGCHLD) {
			syscall.RawSyscall(syscall.SYS_KILL, child, sig, 0)
			continue
		}
		for {
			status := (*uint32)(unsafe.Pointer(&scratch[64]))
			pid, _, e := syscall.RawSyscall6(syscall.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(status)), uintptr(syscall.WNOHANG), 0, 0, 0)
			if e != 0 || pid == 0 {
				break
			}
			if pid == child {
				if s := *status; s&0x7f != 0 {
					exit(uintptr(128 + s&0x7f))
				} else {
					exit(uintptr(s >> 8 & 0xff))
				}
			}
		}
	}
}
