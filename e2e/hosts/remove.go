//go:build linux

package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Remove takes down a lab that another process made and left: everything that a name and a directory tell.
func Remove(name, dir string) error {
	errs := []error{killMentioning(dir + "/")}
	spaces, _ := filepath.Glob("/run/netns/" + name + "-*")
	for _, s := range spaces {
		removeCgroups("shoal-" + filepath.Base(s))
	}
	errs = append(errs, unmountBelow(dir))
	for _, s := range spaces {
		errs = append(errs, netns.DeleteNamed(filepath.Base(s)))
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// killMentioning kills the daemons and shims, and nobody else, whose command line names dir, and the processes below them.
func killMentioning(dir string) error {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, _ := os.ReadFile(p)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		program, _, _ := bytes.Cut(b, []byte{0})
		if err != nil || !strings.HasPrefix(filepath.Base(string(program)), "shoal") || !bytes.Contains(b, []byte(dir)) {
			continue
		}
		for _, child := range append(Children(pid), pid) {
			if err := unix.Kill(child, unix.SIGKILL); err != nil && err != unix.ESRCH {
				return fmt.Errorf("kill %d: %w", child, err)
			}
		}
	}
	return nil
}

// Unmount detaches every mount at or below dir.
func Unmount(dir string) error { return unmountBelow(dir) }

// Children are the processes below pid, deepest first.
func Children(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var all []int
	for _, f := range strings.Fields(string(b)) {
		if c, err := strconv.Atoi(f); err == nil {
			all = append(append(all, Children(c)...), c)
		}
	}
	return all
}
