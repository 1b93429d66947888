//go:build linux

package runtime

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Commands of fsconfig.
const (
	fsSetFlag   = 0
	fsSetString = 1
	fsCreate    = 6
)

// mountAttr is a struct mount_attr.
func (b *builder) mountAttr(set, clear, propagation uint64) ref {
	return b.words(set, clear, propagation, uint64(0))
}

func (b *builder) cloneSource(m *mountPlan) {
	flags := unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if m.rec {
		flags |= unix.AT_RECURSIVE
	}
	m.tree = b.newReg()
	b.do("bind source "+m.Source, unix.SYS_OPEN_TREE, unix.AT_FDCWD, m.Source, flags).to(m.tree)
	b.setAttr(m, m.tree)
}

// setAttr applies flags and propagation to a detached mount.
func (b *builder) setAttr(m *mountPlan, tree reg) {
	prop, rec := m.propagation, m.propRec
	if prop == 0 && m.bind {
		prop, rec = unix.MS_PRIVATE, true
	}
	if m.bind && (m.set|m.clear) != 0 {
		at := unix.AT_EMPTY_PATH
		if m.recAttr {
			at |= unix.AT_RECURSIVE
		}
		b.do("set options of "+m.Destination, unix.SYS_MOUNT_SETATTR, tree, "", at, b.mountAttr(m.set, m.clear, 0), 32)
	}
	if prop != 0 {
		at := unix.AT_EMPTY_PATH
		if rec {
			at |= unix.AT_RECURSIVE
		}
		b.do("set propagation of "+m.Destination, unix.SYS_MOUNT_SETATTR, tree, "", at, b.mountAttr(0, 0, prop), 32)
	}
}

func (b *builder) mount(m *mountPlan) {
	what := fmt.Sprintf("mount %s on %s", m.Type, m.Destination)
	switch {
	case m.bind:
		what = fmt.Sprintf("mount %s on %s", m.Source, m.Destination)
		b.put(what, m.tree, m.Destination, !m.file)
		if !b.keep(m, m.tree) {
			b.do("", unix.SYS_CLOSE, m.tree)
		}
	case m.Type == "cgroup" || m.Type == "cgroup2":
		b.mountCgroup(m, what)
	default:
		r := b.newFS(m, what)
		b.setAttr(m, r)
		b.put(what, r, m.Destination, true)
		if !b.keep(m, r) {
			b.do("", unix.SYS_CLOSE, r)
			b.release(r)
		}
	}
}

// newFS makes a file system that is mounted nowhere yet.
func (b *builder) newFS(m *mountPlan, what string) reg {
	mnt := b.newReg()
	b.makeFS(mnt, m, what)
	return mnt
}

func (b *builder) makeFS(mnt reg, m *mountPlan, what string) {
	fs := b.newReg()
	b.do(what, unix.SYS_FSOPEN, m.Type, unix.FSOPEN_CLOEXEC).to(fs)
	source := m.Source
	if source == "" {
		source = m.Type
	}
	b.do(what, unix.SYS_FSCONFIG, fs, fsSetString, "source", source, 0)
	for _, o := range m.data {
		if key, value, ok := strings.Cut(o, "="); ok {
			b.do(what+" with "+o, unix.SYS_FSCONFIG, fs, fsSetString, key, value, 0)
		} else {
			b.do(what+" with "+o, unix.SYS_FSCONFIG, fs, fsSetFlag, o, 0, 0)
		}
	}
	if l := b.in.spec.Linux.MountLabel; l != "" && labelled(m) {
		b.do(what+" with label "+l, unix.SYS_FSCONFIG, fs, fsSetString, "context", l, 0)
	}
	b.do(what, unix.SYS_FSCONFIG, fs, fsCreate, 0, 0, 0)
	b.do(what, unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, m.set).to(mnt)
	b.do("", unix.SYS_CLOSE, fs)
	b.release(fs)
}

// labelled: file systems that show the kernel's own things have labels of the policy's.
func labelled(m *mountPlan) bool {
	if slices.ContainsFunc(m.data, func(o string) bool { return strings.HasPrefix(o, "context=") }) {
		return false
	}
	return !slices.Contains([]string{"proc", "sysfs", "mqueue", "cgroup", "cgroup2"}, m.Type)
}

// labelQueues: a mount of POSIX message queues takes no label, its directory may; not from within a user namespace.
func (b *builder) labelQueues(plans []mountPlan) {
	l := b.in.spec.Linux.MountLabel
	for _, m := range plans {
		if l != "" && !b.userns && m.Type == "mqueue" {
			b.do("label "+m.Destination, unix.SYS_LSETXATTR, m.Destination, "security.selinux", l, len(l), 0).ok(unix.ENOTSUP)
		}
	}
}
