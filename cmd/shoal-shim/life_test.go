//go:build linux

package main

import (
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Who forks the first process of a container with users of its own says so and ends, perhaps before it is listened to. That
// is not the container's end.
func TestEndOfTheForkerIsNotTheContainers(t *testing.T) {
	t.Chdir(t.TempDir()) // the state is written there
	first := exec.Command("sleep", "100")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { first.Process.Kill(); first.Wait() }()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	const forker = 1 << 29 // nobody's number
	m := wire.Msg{Kind: wire.MsgPid, Value: uint32(first.Process.Pid)}
	if _, err := syscall.Write(pair[1], unsafe.Slice((*byte)(unsafe.Pointer(&m)), unsafe.Sizeof(m))); err != nil {
		t.Fatal(err)
	}
	s := &shim{sync: pair[0], pidfd: -1, init: process{pid: forker}}
	s.initExited(forker, 0) // would end this program
	defer closeFD(&s.pidfd)
	if s.exited || s.init.pid != first.Process.Pid || s.init.start != startTime(first.Process.Pid) {
		t.Errorf("exited %v, first process %v, want %d", s.exited, s.init, first.Process.Pid)
	}
	if n, err := syscall.Read(pair[1], make([]byte, 1)); n != 1 {
		t.Errorf("the first process waits for its answer: %d, %v", n, err)
	}
}
