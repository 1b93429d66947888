//go:build linux

// Init is the first process of a test's virtual machine, and all of its system: it mounts what a distribution mounts, loads
// drivers, sets up the network card and runs the scripts that come over the second serial port.
package main

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		check("serve", serve("/dev/ttyS1"))
		return
	}
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("HOME", "/root")
	os.Setenv("TMPDIR", "/var/tmp")
	check("mount", mountAll())
	check("load modules", loadModules("/etc/modules"))
	check("mount the disk", mountDisk())
	check("configure the network", network(bootOptions()))
	worker := exec.Command("/proc/self/exe", "serve")
	worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
	check("start worker", worker.Start())
	reapUntil(worker.Process.Pid)
	powerOff()
}

// reapUntil collects orphans, as the first process must, until the worker ends.
func reapUntil(worker int) {
	for {
		pid, err := unix.Wait4(-1, nil, 0, nil)
		if pid == worker || err != nil && err != unix.EINTR {
			return
		}
	}
}

func check(what string, err error) {
	if err == nil {
		return
	}
	fmt.Printf("init: %s: %v\n", what, err)
	if os.Getpid() == 1 {
		powerOff()
	}
	os.Exit(1)
}

func powerOff() {
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
