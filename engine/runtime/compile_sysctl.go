//go:build linux

package runtime

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctls writes parameters of namespaces that the container has for itself.
func (b *builder) sysctls() {
	for key, value := range b.in.spec.Linux.Sysctl {
		if err := checkSysctl(key, b.ns); err != nil {
			b.fail(err)
			return
		}
		name := key
		if !strings.Contains(key, "/") {
			name = strings.ReplaceAll(key, ".", "/")
		}
		if _, _, ok := b.kernelMountOf("/proc/sys/" + name); !ok {
			b.fail(fmt.Errorf("sysctl %q cannot be set: the container has no proc at /proc", key))
			return
		}
		what := "set sysctl " + key
		r := b.newReg()
		b.inKernel(what, "/proc/sys/"+name, unix.O_WRONLY).to(r)
		b.do(what, unix.SYS_WRITE, r, value, len(value))
		b.do("", unix.SYS_CLOSE, r)
		b.release(r)
	}
}

// checkSysctl refuses parameters that would reach the host or another container.
func checkSysctl(key string, ns namespaces) error {
	name := strings.ReplaceAll(key, "/", ".")
	need, kind := 0, ""
	switch {
	case strings.Contains(name, ".."):
	case strings.HasPrefix(name, "net."):
		need, kind = unix.CLONE_NEWNET, "network"
	case strings.HasPrefix(name, "fs.mqueue."), strings.HasPrefix(name, "kernel.msg"), strings.HasPrefix(name, "kernel.shm"), name == "kernel.sem":
		need, kind = unix.CLONE_NEWIPC, "ipc"
	case name == "kernel.domainname", name == "kernel.hostname":
		need, kind = unix.CLONE_NEWUTS, "uts"
	}
	if need == 0 {
		return fmt.Errorf("sysctl %q belongs to the whole machine and cannot be set for a container", key)
	}
	if ns.all&need == 0 {
		return fmt.Errorf("sysctl %q cannot be set: the container shares the host's %s namespace", key, kind)
	}
	return nil
}
