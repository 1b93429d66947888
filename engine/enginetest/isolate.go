//go:build linux

package enginetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

const isolated = "SHOAL_TEST_ISOLATED"

// Main runs a package's tests in a network namespace of their own, so that bridges and rules that they make are not the
// machine's. A TestMain calls it and nothing else. Without root it runs them where they are, to be skipped.
func Main(m *testing.M) {
	if os.Getuid() == 0 && os.Getenv(isolated) == "" {
		os.Exit(again())
	}
	if os.Getenv(isolated) != "" {
		if err := Loopback(); err != nil {
			fmt.Fprintln(os.Stderr, "set lo up:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	Cleanup()
	os.Exit(code)
}

func again() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolated+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run tests in a network namespace:", err)
		return 1
	}
	return 0
}

// Loopback sets lo up in the namespace of the calling thread.
func Loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
