//go:build linux

// It is one thread: Go need not look how many processors there are for it, nor keep files of the control group open.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command shoal-shim supervises one container and is, until execve, its first process.
//
// As the shim it is the parent of the container's PID 1: it holds the standard
// streams, writes the log and the exit file, answers requests on a unix socket
// and outlives the daemon. As init it is a fork of the shim that interprets the
// instructions the daemon compiled (see engine/shim/wire) and ends in the user's
// command, or stays as a reaper in front of it.
//
// It is one thread that waits in ppoll. It imports only syscall and the wire
// package, allocates next to nothing and must stay that way: there is one of it
// per container. It does not read JSON, resolve names or know about images.
package main

import (
	"runtime"
	"syscall"
	"unsafe"
)

// fdCreate is the inherited socket to the daemon, fdLock the inherited flocked file.
const (
	fdCreate = 3
	fdLock   = 4
)

func main() {
	// Namespaces are entered per thread and PDEATHSIG fires when the forking
	// thread ends, so everything happens on one thread.
	runtime.LockOSThread()
	s := &shim{}
	if err := s.run(); err != 0 {
		syscall.Exit(1)
	}
}

// shim is the whole state of the program.
type shim struct {
	self, init   process // init.pid is 0 until created
	maker        maker
	adopted      bool // another runtime made the container
	pidfd        int
	sync         int // socket to the child until it has executed, -1 otherwise
	creator      *conn
	starter      *conn
	listener     int
	ready        bool
	hooking      bool // the child waits for the daemon's hooks
	startSent    bool
	started      int64 // nanoseconds, 0: not yet
	exited       bool
	exit         exitStatus
	failed       string // why the command could not be executed
	failCode     uint16
	hostPID      bool
	tty          bool
	stdin        pipeIn
	out, errs    output
	log          logFile
	conns        []*conn
	execs        []*session
	spareConn    *conn    // nobody's any more, for the next one
	spareExec    *session // the same
	blob         blob
	warnings     []byte
	oomPath      string
	width, hight uint16
}

// process is a pid and the start time that makes it unique.
type process struct {
	pid   int
	start uint64
}

func (s *shim) run() syscall.Errno {
	s.sync, s.listener, s.pidfd = -1, -1, -1
	s.stdin.fd, s.out.fd, s.errs.fd, s.log.fd = -1, -1, -1, -1
	s.out.stream, s.errs.stream = "stdout", "stderr"
	prctl(prSetChildSubreaper, 1)
	prctl(prSetName, uintptr(unsafe.Pointer(unsafe.StringData("shoal-shim\x00")))) // it was executed by descriptor: ps would show a number
	prctl(prSetDumpable, 0)                                                        // nobody in the container looks into this process
	closeOnExec(fdCreate)
	closeOnExec(fdLock)
	findArgs()
	s.self = process{syscall.Getpid(), startTime(syscall.Getpid())}
	s.writeState()
	if err := s.listen(); err != 0 {
		return err
	}
	s.creator = s.adopt(fdCreate)
	return s.loop()
}
