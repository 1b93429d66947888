//go:build linux

package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// scratch names the directory that holds all files of a run.
const scratch = "SHOAL_VM_SCRATCH"

// TestMain runs the tests as a process group of their own, which makes all its files below one directory. However they end
// (ctrl-c, a timeout, a panic), no machine and no file is left.
func TestMain(m *testing.M) {
	if os.Getenv("SHOAL_VM") == "" || os.Getenv(scratch) != "" {
		os.Exit(m.Run())
	}
	code, err := supervise()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests of virtual machines:", err)
		code = 1
	}
	os.Exit(code)
}

func supervise() (int, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	sweep()
	dir, err := os.MkdirTemp("", "shoal-vm-")
	if err != nil {
		return 0, err
	}
	lock, err := hold(dir)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	code, err := run(dir, signals)
	return code, errors.Join(err, os.RemoveAll(dir))
}

// run starts the tests and waits for them and for all that they have started: nobody writes into dir any more then.
func run(dir string, signals <-chan os.Signal) (int, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), scratch+"="+dir, "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	group := -cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case s := <-signals:
		syscall.Kill(group, syscall.SIGKILL)
		<-ended
		err = fmt.Errorf("%v: machines are ended and files removed", s)
	}
	syscall.Kill(group, syscall.SIGKILL)
	for _, e := unix.Wait4(group, nil, 0, nil); e == nil || e == unix.EINTR; _, e = unix.Wait4(group, nil, 0, nil) {
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// hold locks a directory for as long as this process lives.
func hold(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// sweep removes what runs have left that were killed with SIGKILL: nobody holds their directories any more.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "shoal-vm-*"))
	for _, dir := range left {
		if lock, err := hold(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}
