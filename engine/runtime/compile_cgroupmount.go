//go:build linux

package runtime

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountCgroup shows the container its own cgroups, read-only unless told otherwise.
// Binding them costs a tenth of mounting each hierarchy anew and shows the same.
func (b *builder) mountCgroup(m *mountPlan, what string) {
	if g := b.in.groups; g.unified {
		r := b.cloneCgroup(m, what, g.v2)
		b.attach(what, r, m.Destination, true)
		b.release(r)
		return
	}
	tmp := mountPlan{Mount: specs.Mount{Type: "tmpfs", Source: "cgroup"}, data: []string{"mode=755"},
		set: m.set &^ unix.MOUNT_ATTR_RDONLY}
	fs := b.newFS(&tmp, what)
	t := b.target(what, m.Destination, true)
	b.do(what, unix.SYS_MOVE_MOUNT, fs, "", t, "", moveEmpty)
	b.do("", unix.SYS_CLOSE, t)
	b.release(t)
	for _, v := range b.in.groups.visible {
		b.bindHierarchy(m, what, fs, v)
	}
	if m.set&unix.MOUNT_ATTR_RDONLY != 0 {
		b.do(what, unix.SYS_MOUNT_SETATTR, fs, "", unix.AT_EMPTY_PATH, b.mountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0), 32)
	}
	b.do("", unix.SYS_CLOSE, fs)
	b.release(fs)
}

// cloneCgroup makes a detached mount of a directory of the host's with the options of the container's.
func (b *builder) cloneCgroup(m *mountPlan, what, path string) reg {
	r := b.newReg()
	b.do(what, unix.SYS_OPEN_TREE, unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE).to(r)
	b.do(what, unix.SYS_MOUNT_SETATTR, r, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, b.mountAttr(m.set, 0, unix.MS_PRIVATE), 32)
	return r
}

// bindHierarchy mounts one hierarchy of version 1 in a directory of the mount fs.
func (b *builder) bindHierarchy(m *mountPlan, what string, fs reg, v visibleV) {
	b.do(what, unix.SYS_MKDIRAT, fs, v.name, 0o755).ok(unix.EEXIST)
	r := b.cloneCgroup(m, what, v.path)
	t := b.newReg()
	b.do(what, unix.SYS_OPENAT, fs, v.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC).to(t)
	b.do(what, unix.SYS_MOVE_MOUNT, r, "", t, "", moveEmpty)
	b.do("", unix.SYS_CLOSE, t)
	b.do("", unix.SYS_CLOSE, r)
	b.release(t)
	b.release(r)
}
