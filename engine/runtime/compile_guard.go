//go:build linux

package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// kernelMount is a mount of the kernel's own files (proc, sysfs) that stays open until the container is whole. What is to be
// masked, made read-only or written below it is found through this descriptor: the path may lead elsewhere by then. An image may
// have a link at /proc, or declare a volume that covers it, and who shares a volume may exchange directories at any moment
// (CVE-2019-19921, CVE-2023-27561, CVE-2025-31133, CVE-2025-52881).
type kernelMount struct {
	at   string
	root reg
}

// keep leaves a mount open if it is one of the kernel's files.
func (b *builder) keep(m *mountPlan, mount reg) bool {
	if m.Type != "proc" && m.Type != "sysfs" && (!m.bind || !isKernel(m.Source)) {
		return false
	}
	b.kernel = append(b.kernel, kernelMount{path.Clean(m.Destination), mount})
	return true
}

// dropKernel closes what keep left open.
func (b *builder) dropKernel() {
	for _, k := range b.kernel {
		b.do("", unix.SYS_CLOSE, k.root)
	}
}

// inKernel opens a path below the last of the kernel's mounts that it is in: there are no links in there that anybody could have
// made, and what is mounted over a part of it is not what is meant. Any other path is the root's.
func (b *builder) inKernel(what, name string, flags int) step {
	if mount, rel, ok := b.kernelMountOf(name); ok {
		how := b.words(uint64(flags|unix.O_CLOEXEC), uint64(0), uint64(unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV))
		return b.do(what, unix.SYS_OPENAT2, mount, rel, how, 24)
	}
	return b.inRoot(what, strings.TrimPrefix(path.Clean("/"+name), "/"), flags)
}

func (b *builder) kernelMountOf(name string) (mount reg, rel string, ok bool) {
	for _, k := range slices.Backward(b.kernel) {
		if rel, ok := strings.CutPrefix(path.Clean("/"+name), k.at+"/"); ok {
			return k.root, rel, true
		}
	}
	return 0, "", false
}

// guard makes paths read-only and hides others, those that exist.
func (b *builder) guard(readonly, masked []string) {
	for _, name := range readonly {
		what := "make " + name + " read-only"
		b.onto(what, name, func(at reg) {
			tree := b.newReg()
			b.do(what, unix.SYS_OPEN_TREE, at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE).to(tree)
			b.do(what, unix.SYS_MOUNT_SETATTR, tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, b.mountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0), 32)
			b.do(what, unix.SYS_MOVE_MOUNT, tree, "", at, "", moveEmpty)
			b.do("", unix.SYS_CLOSE, tree)
			b.release(tree)
		})
	}
	if len(masked) > 0 && !isNull("/dev/null") {
		b.fail(fmt.Errorf("mask %s: this host's /dev/null is not the null device", masked[0]))
	}
	for _, name := range masked {
		b.mask(name)
	}
}

// onto calls f with a place to mount on; where nothing is, nothing is done.
func (b *builder) onto(what, name string, f func(at reg)) {
	var found, skip label
	at := b.newReg()
	b.inKernel(what, name, unix.O_PATH).to(at).then(&found).ignore()
	b.inKernel(what, name, unix.O_PATH).ok(unix.ENOENT).then(&skip) // it failed: for this reason, or for one to report
	b.here(&found)
	f(at)
	b.do("", unix.SYS_CLOSE, at)
	b.here(&skip)
	b.release(at)
}

// mask hides a file behind the null device and a directory behind an empty one. The null device is the host's: the container's
// /dev may be a volume with a link of that name.
func (b *builder) mask(name string) {
	what := "mask " + name
	b.onto(what, name, func(at reg) {
		var done, dir label
		tree := b.newReg()
		b.do(what, unix.SYS_OPEN_TREE, unix.AT_FDCWD, "/dev/null", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW).to(tree)
		b.do(what, unix.SYS_MOUNT_SETATTR, tree, "", unix.AT_EMPTY_PATH, b.mountAttr(unix.MOUNT_ATTR_NOSUID, 0, 0), 32)
		b.do(what, unix.SYS_MOVE_MOUNT, tree, "", at, "", moveEmpty).then(&done).orElse(&dir)
		b.here(&dir)
		b.do("", unix.SYS_CLOSE, tree)
		empty := mountPlan{Mount: specs.Mount{Type: "tmpfs"}, data: []string{"size=0k", "nr_inodes=1", "ro"}, set: unix.MOUNT_ATTR_RDONLY}
		b.makeFS(tree, &empty, what)
		b.do(what, unix.SYS_MOVE_MOUNT, tree, "", at, "", moveEmpty)
		b.here(&done)
		b.do("", unix.SYS_CLOSE, tree)
		b.release(tree)
	})
}

func isNull(name string) bool {
	var st unix.Stat_t
	return unix.Lstat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// inProc are files below /proc that programs show a container's own instead of the machine's in (lxcfs): harmless to cover.
var inProc = []string{
	"cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "sys/crypto/fips_enabled",
	"sys/kernel/ns_last_pid", "uptime",
}

// checkProc refuses to cover /proc or what is in it: programs trust what they read and write there.
func checkProc(m specs.Mount) error {
	dest := path.Clean(m.Destination)
	rel, inside := strings.CutPrefix(dest, "/proc/")
	switch {
	case dest != "/proc" && !inside, inside && slices.Contains(inProc, rel), dest == "/proc" && m.Type == "proc":
		return nil
	case dest == "/proc" && isProc(m.Source):
		return nil
	}
	return fmt.Errorf("mount %s: nothing but proc can be mounted there", m.Destination)
}

func isProc(dir string) bool { return fileSystem(dir) == unix.PROC_SUPER_MAGIC }

func isKernel(dir string) bool { return isProc(dir) || fileSystem(dir) == unix.SYSFS_MAGIC }

func fileSystem(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Type)
}
