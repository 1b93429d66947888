//go:build linux

package runtime

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

var nsFlags = map[specs.LinuxNamespaceType]int{
	specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.MountNamespace: unix.CLONE_NEWNS,
	specs.IPCNamespace: unix.CLONE_NEWIPC, specs.UTSNamespace: unix.CLONE_NEWUTS, specs.UserNamespace: unix.CLONE_NEWUSER,
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP, specs.TimeNamespace: unix.CLONE_NEWTIME,
}

// namespaces sorts the spec's namespaces into those to make and those to join.
type namespaces struct {
	fresh int            // flags
	all   int            // flags
	paths map[int]string // to join
}

func sortNamespaces(list []specs.LinuxNamespace) (namespaces, error) {
	n := namespaces{paths: map[int]string{}}
	for _, ns := range list {
		flag, ok := nsFlags[ns.Type]
		if !ok {
			return n, fmt.Errorf("unknown namespace type %q", ns.Type)
		}
		if n.all&flag != 0 {
			return n, fmt.Errorf("namespace %q is listed twice", ns.Type)
		}
		n.all |= flag
		if ns.Path == "" {
			n.fresh |= flag
		} else {
			n.paths[flag] = ns.Path
		}
	}
	if n.fresh&unix.CLONE_NEWNS == 0 {
		return n, fmt.Errorf("a container needs a mount namespace of its own")
	}
	return n, nil
}

// namespaces arranges that the child is in the right ones.
//
// A network, IPC, UTS or PID namespace to join is entered by the shim's thread
// around the fork, while it has all the privileges. New ones are made at the
// fork, all at once, so that they belong to a new user namespace; the cgroup
// namespace only after the child is in its cgroup, which becomes its root, or which
// it could not enter from within a namespace that it is to join.
// A user namespace to join must be entered by the child before the others are made:
// it then forks once more and its child becomes the shim's.
func (b *builder) namespaces() {
	atFork := b.ns.fresh &^ (unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME)
	for _, flag := range []int{unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWPID} {
		if path, ok := b.ns.paths[flag]; ok {
			b.join(path, flag)
		}
	}
	if path, ok := b.ns.paths[unix.CLONE_NEWCGROUP]; ok {
		b.setns("cgroup", path, unix.CLONE_NEWCGROUP)
	}
	if path, ok := b.ns.paths[unix.CLONE_NEWUSER]; ok {
		b.setns("user", path, unix.CLONE_NEWUSER)
		b.nest(atFork)
	} else {
		b.hdr.CloneFlags = uint64(atFork)
	}
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	if b.ns.fresh&unix.CLONE_NEWCGROUP != 0 {
		b.do("make cgroup namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
	if b.ns.fresh&unix.CLONE_NEWUSER != 0 {
		b.ask(wire.MsgMap)
	}
	if b.userns {
		b.becomeRoot()
	}
	b.timeNamespace()
	if b.ns.fresh&unix.CLONE_NEWNET != 0 {
		b.loopback()
	}
}

// nest forks once more; the child goes on and is the shim's child, too.
func (b *builder) nest(flags int) {
	b.hdr.Flags |= wire.FlagNested
	var parent, child label
	pid := b.newReg()
	b.do("fork into the user namespace", wire.DoFork, flags|unix.CLONE_PARENT).to(pid).then(&parent)
	b.do("", unix.SYS_GETPID).then(&child)
	b.here(&parent)
	m := b.bytes(structBytes(&wire.Msg{Kind: wire.MsgPid}))
	b.do("", wire.DoStore32, m+8, pid)
	b.do("", unix.SYS_WRITE, reg(wire.RegSync), m, 16)
	b.do("", wire.DoExit, 0)
	b.here(&child)
	b.do("wait for the shim", wire.DoAwait)
}

func (b *builder) becomeRoot() {
	b.do("setgid 0 in the user namespace", unix.SYS_SETRESGID, 0, 0, 0)
	b.do("setgroups in the user namespace", unix.SYS_SETGROUPS, 0, 0).ok(unix.EPERM)
	b.do("setuid 0 in the user namespace", unix.SYS_SETRESUID, 0, 0, 0)
	b.do("", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
}

// setns makes the child itself enter a namespace that the shim has opened.
func (b *builder) setns(name, path string, flag int) {
	r := b.program.open(path, unix.O_RDONLY)
	b.do("join "+name+" namespace "+path, unix.SYS_SETNS, r, flag)
	b.do("", unix.SYS_CLOSE, r)
}

func (b *builder) timeNamespace() {
	if path, ok := b.ns.paths[unix.CLONE_NEWTIME]; ok {
		b.setns("time", path, unix.CLONE_NEWTIME)
	}
	if b.ns.fresh&unix.CLONE_NEWTIME == 0 {
		return
	}
	b.do("make time namespace", unix.SYS_UNSHARE, unix.CLONE_NEWTIME)
	var t strings.Builder
	for _, clock := range []string{"monotonic", "boottime"} {
		if o, ok := b.in.spec.Linux.TimeOffsets[clock]; ok {
			fmt.Fprintf(&t, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
	}
	if t.Len() > 0 {
		b.setTimeOffsets(t.String())
	}
	b.enterOwnTime()
}

// setTimeOffsets: the files in /proc of a process that cannot be dumped are the host's root's, which a child in a user namespace of
// its own is not. It is the first in its PID namespace: nobody sees it while it can be.
func (b *builder) setTimeOffsets(text string) {
	if b.userns {
		b.do("", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)
	}
	b.writeFile("set time offsets", "/proc/self/timens_offsets", text)
	if b.userns {
		b.do("", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	}
}

// enterOwnTime: what unshare made is for children only. Newer kernels let execve enter it (6.3), to older ones it must be said.
func (b *builder) enterOwnTime() {
	const what = "enter time namespace"
	r := b.newReg()
	b.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/ns/time_for_children", unix.O_RDONLY|unix.O_CLOEXEC).to(r)
	b.do(what, unix.SYS_SETNS, r, unix.CLONE_NEWTIME)
	b.do("", unix.SYS_CLOSE, r)
	b.release(r)
}

func idMap(list []specs.LinuxIDMapping) string {
	var t strings.Builder
	for _, m := range list {
		fmt.Fprintf(&t, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return t.String()
}
