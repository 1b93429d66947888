//go:build linux

package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// launch starts a shim in its directory and returns a connection to it.
func (s *Shoal) launch(p place) (*shim.Conn, error) {
	lock, err := os.OpenFile(p.file(wire.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "shim")
	defer theirs.Close()
	conn, err := shim.NewConn(pair[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/fd/" + strconv.Itoa(int(s.program.Fd())))
	cmd.Args = []string{"shoal-shim", p.dir} // for those who look at ps
	// Small rather than fast: it hardly ever allocates. With one processor Go's monitor would take it from the only thread
	// in each system call, and an exec would wait twice for another thread to give it back (5 % of its time, for 50 kB).
	cmd.Env = []string{"GOMAXPROCS=2", "GOGC=10"}
	cmd.Dir = p.dir
	cmd.ExtraFiles = []*os.File{theirs, lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start shim: %w", err)
	}
	go cmd.Wait() // a shim that outlives this daemon is reaped by init instead
	return conn, nil
}

// seal copies a program into memory that nobody can write to any more.
func seal(path string) (*os.File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read shim: %w", err)
	}
	fd, err := highMemfd()
	if err != nil {
		return nil, fmt.Errorf("memfd for the shim: %w", err)
	}
	f := os.NewFile(uintptr(fd), "shoal-shim")
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy shim: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal shim: %w", err)
	}
	return f, nil
}

// highMemfd is a memory file above the numbers that a shim inherits: a child puts those in place first, and would then
// find them, and not its program, at the path that it executes.
func highMemfd() (int, error) {
	fd, err := unix.MemfdCreate("shoal-shim", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 16)
}
