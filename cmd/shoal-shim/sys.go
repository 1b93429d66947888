//go:build linux

package main

import (
	"syscall"
	"unsafe"
)

// Numbers that package syscall lacks; the same on every architecture that has them.
const (
	sysClone3      = 435
	sysCloseRange  = 436
	sysPidfdOpen   = 434
	prSetPdeathsig = 1

	prSetDumpable       = 4
	prSetName           = 15
	prSetChildSubreaper = 36

	clonePidfd      = 0x1000
	cloneIntoCgroup = 0x2_0000_0000
	cloneParent     = 0x8000

	pollIn  = 0x1
	pollOut = 0x4
	pollErr = 0x8
	pollHup = 0x10

	tiocswinsz = 0x5414
	noFD       = -1
)

func prctl(op, arg uintptr) { syscall.RawSyscall6(syscall.SYS_PRCTL, op, arg, 0, 0, 0, 0) }

func closeOnExec(fd int) {
	syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, syscall.FD_CLOEXEC)
}

func nonBlocking(fd int) {
	f, _, _ := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFL, f|syscall.O_NONBLOCK)
}

func closeFD(fd *int) {
	if *fd >= 0 {
		syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(*fd), 0, 0)
		*fd = noFD
	}
}

// pathBuf holds the path of an open. It is one for the whole program, which is one thread: a shim that allocated something for
// every exec would grow for as long as its container has health checks, and forks take longer the more there is to copy.
var pathBuf [4097]byte

func open[T string | []byte](path T, flags int, mode uint32) (int, syscall.Errno) {
	if len(path) >= len(pathBuf) {
		return noFD, syscall.ENAMETOOLONG
	}
	p := pathBuf[:copy(pathBuf[:], path)+1]
	p[len(path)] = 0
	for {
		fd, _, e := syscall.Syscall6(syscall.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(&p[0])),
			uintptr(flags|syscall.O_CLOEXEC), uintptr(mode), 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return noFD, e
		}
		return int(fd), 0
	}
}

// atCwd is AT_FDCWD, -100.
const atCwd = ^uintptr(99)

func rename(from, to string) syscall.Errno {
	a, b := cstring(from), cstring(to)
	_, _, e := syscall.Syscall6(syscall.SYS_RENAMEAT, atCwd, uintptr(unsafe.Pointer(&a[0])), atCwd, uintptr(unsafe.Pointer(&b[0])), 0, 0)
	return e
}

func cstring(s string) []byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return b
}

func read(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.Syscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

func write(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.Syscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

// writeAll is for files; it gives up at the first error.
func writeAll(fd int, b []byte) syscall.Errno {
	for len(b) > 0 {
		n, e := write(fd, b)
		if e != 0 {
			return e
		}
		b = b[n:]
	}
	return 0
}

// readFile reads a small file, at most 4 KiB.
func readFile(path string) ([]byte, syscall.Errno) {
	fd, e := open(path, syscall.O_RDONLY, 0)
	if e != 0 {
		return nil, e
	}
	defer closeFD(&fd)
	b := make([]byte, 4096)
	n, e := read(fd, b)
	return b[:n], e
}

// writeFile replaces a file in the current directory by rename.
func writeFile(name string, data []byte) syscall.Errno {
	tmp := "." + name + ".new"
	fd, e := open(tmp, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o600)
	if e != 0 {
		return e
	}
	e = writeAll(fd, data)
	closeFD(&fd)
	if e != 0 {
		return e
	}
	return rename(tmp, name)
}

// now is the time in nanoseconds since 1970.
func now() int64 {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 0, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

func itoa(n int64) string {
	if n == 0 {
		return "0"
	}
	var b [20]byte
	i, neg := len(b), n < 0
	if neg {
		n = -n
	}
	for ; n > 0; n /= 10 {
		i--
		b[i] = byte('0' + n%10)
	}
	if neg {
		i--
		b[i] = '-'
	}
	return string(b[i:])
}

// number reads the decimal digits at the start of b.
func number(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// startTime tells processes of one number apart; 0 if there is no such process.
func startTime(pid int) uint64 { return statField(pid, 22) }

// statField is a number in /proc/PID/stat, 0 if there is no such process. Fields count from one (man 5 proc_pid_stat).
func statField(pid, want int) uint64 {
	b, e := readFile("/proc/" + itoa(int64(pid)) + "/stat")
	if e != 0 {
		return 0
	}
	i := len(b) - 1
	for i > 0 && b[i] != ')' { // the command's name may hold anything
		i--
	}
	for field := 2; i < len(b); i++ {
		if b[i] != ' ' {
			continue
		}
		if field++; field == want {
			return number(b[i+1:])
		}
	}
	return 0
}

// counter finds "key N" in a cgroup file.
func counter(b []byte, key string) uint64 {
	for i := 0; i < len(b); {
		end := i
		for end < len(b) && b[end] != '\n' {
			end++
		}
		line := b[i:end]
		if len(line) > len(key) && string(line[:len(key)]) == key && line[len(key)] == ' ' {
			return number(line[len(key)+1:])
		}
		i = end + 1
	}
	return 0
}
