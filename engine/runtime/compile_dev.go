//go:build linux

package runtime

import (
	"fmt"
	"os"
	"path"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// node is a device to be made.
type node struct {
	path     string
	mode     uint32 // type and permissions
	dev      uint64
	uid, gid uint32
}

// defaultNodes are in every container's /dev.
func defaultNodes() []node {
	const mode = unix.S_IFCHR | 0o666
	return []node{
		{path: "/dev/null", mode: mode, dev: unix.Mkdev(1, 3)}, {path: "/dev/zero", mode: mode, dev: unix.Mkdev(1, 5)},
		{path: "/dev/full", mode: mode, dev: unix.Mkdev(1, 7)}, {path: "/dev/random", mode: mode, dev: unix.Mkdev(1, 8)},
		{path: "/dev/urandom", mode: mode, dev: unix.Mkdev(1, 9)}, {path: "/dev/tty", mode: mode, dev: unix.Mkdev(5, 0)},
	}
}

// devices makes device nodes, before pivot_root: in a user namespace they can only
// be bound from the host.
func (b *builder) devices(ownDev bool) {
	var nodes []node
	if ownDev {
		nodes = defaultNodes()
	}
	for _, d := range b.in.spec.Linux.Devices {
		n, err := specNode(d)
		if err != nil {
			b.fail(err)
			return
		}
		nodes = append(nodes, n)
	}
	if !b.userns {
		b.makeNodes(nodes)
		return
	}
	for _, n := range nodes {
		b.bindNode(n)
	}
}

func specNode(d specs.LinuxDevice) (node, error) {
	n := node{path: d.Path, dev: unix.Mkdev(uint32(d.Major), uint32(d.Minor))}
	switch d.Type {
	case "c", "u":
		n.mode = unix.S_IFCHR
	case "b":
		n.mode = unix.S_IFBLK
	case "p":
		n.mode, n.dev = unix.S_IFIFO, 0
	default:
		return n, fmt.Errorf("device %s: unknown type %q", d.Path, d.Type)
	}
	perm := uint32(0o666)
	if d.FileMode != nil {
		perm = uint32(d.FileMode.Perm())
	}
	n.mode |= perm
	if d.UID != nil {
		n.uid = *d.UID
	}
	if d.GID != nil {
		n.gid = *d.GID
	}
	if !path.IsAbs(d.Path) {
		return n, fmt.Errorf("device %q: must be an absolute path", d.Path)
	}
	return n, nil
}

// makeNodes opens a directory once for all nodes of it that come one after the other: a privileged container may have
// thousands, and a program has no more than 65536 steps.
func (b *builder) makeNodes(nodes []node) {
	dir := b.newReg()
	open := ""
	for _, n := range nodes {
		what := "make device " + n.path
		full := path.Clean(n.path)
		if above := path.Dir(full); above != open {
			if open != "" {
				b.do("", unix.SYS_CLOSE, dir)
			}
			open = above
			rel := strings.TrimPrefix(full, "/")
			b.makeParents(what, rel, dir)
			b.inRoot(what, parent(rel), unix.O_PATH|unix.O_DIRECTORY).to(dir)
		}
		b.do(what, unix.SYS_MKNODAT, dir, path.Base(full), n.mode, n.dev).ok(unix.EEXIST)
		if n.uid != 0 || n.gid != 0 {
			b.do(what, unix.SYS_FCHOWNAT, dir, path.Base(full), n.uid, n.gid, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
	if open != "" {
		b.do("", unix.SYS_CLOSE, dir)
	}
	b.release(dir)
}

func (b *builder) bindNode(n node) {
	what := "bind device " + n.path
	source, err := hostDevice(n)
	if err != nil {
		b.fail(err)
		return
	}
	r := b.newReg()
	b.do(what, unix.SYS_OPEN_TREE, unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).to(r)
	b.attach(what, r, n.path, false)
	b.release(r)
}

// hostDevice finds a device in the host's /dev: under the name that the container has for it, or the kernel's own.
func hostDevice(n node) (string, error) {
	kind := map[uint32]string{unix.S_IFCHR: "char", unix.S_IFBLK: "block"}[n.mode&unix.S_IFMT]
	number := fmt.Sprintf("%d:%d", unix.Major(n.dev), unix.Minor(n.dev))
	names := []string{n.path}
	event, _ := os.ReadFile("/sys/dev/" + kind + "/" + number + "/uevent")
	for line := range strings.Lines(string(event)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			names = append(names, "/dev/"+name)
		}
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == n.mode&unix.S_IFMT && st.Rdev == n.dev {
			return name, nil
		}
	}
	return "", fmt.Errorf("device %s: a container with users of its own has the host's devices only, and %s %s is not in /dev", n.path, kind, number)
}

// devLinks are the links every program expects; an image's or mount's own stay.
func (b *builder) devLinks() {
	b.do("make /dev", unix.SYS_MKDIRAT, unix.AT_FDCWD, "/dev", 0o755).ok(unix.EEXIST)
	links := [][2]string{{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"}}
	if _, err := os.Stat("/proc/kcore"); err == nil {
		links = append(links, [2]string{"/proc/kcore", "/dev/core"})
	}
	for _, l := range links {
		b.do("make "+l[1], unix.SYS_SYMLINKAT, l[0], unix.AT_FDCWD, l[1]).ignore()
	}
}

// terminal makes a pseudo-terminal in the container's own devpts and sends its
// master side to the shim.
func (b *builder) terminal(u specs.User, console bool) {
	const what = "make terminal"
	b.tty = b.newReg()
	master := b.newReg()
	b.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC).to(master)
	b.do(what, unix.SYS_IOCTL, master, unix.TIOCSPTLCK, b.words(uint64(0)))
	b.do(what, unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC).to(b.tty)
	b.do(what, unix.SYS_FCHOWN, b.tty, u.UID, ^uint32(0)).warn()
	b.sendFD(what, master)
	b.do("", unix.SYS_CLOSE, master)
	b.do("wait for the shim", wire.DoAwait)
	b.release(master)
	if console {
		b.console()
	}
}

// console puts the terminal on /dev/console.
func (b *builder) console() {
	const what = "make /dev/console"
	b.do(what, unix.SYS_MKNODAT, unix.AT_FDCWD, "/dev/console", unix.S_IFREG|0o600, 0).ok(unix.EEXIST)
	tree, at := b.newReg(), b.newReg()
	b.do(what, unix.SYS_OPEN_TREE, b.tty, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).to(tree)
	b.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/console", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC).to(at)
	b.do(what, unix.SYS_MOVE_MOUNT, tree, "", at, "", moveEmpty)
	b.do("", unix.SYS_CLOSE, at)
	b.do("", unix.SYS_CLOSE, tree)
	b.release(at)
	b.release(tree)
}

// sendFD passes a descriptor to the shim in a MsgTTY.
func (b *builder) sendFD(what string, r reg) {
	msg := b.bytes(structBytes(&wire.Msg{Kind: wire.MsgTTY}))
	iov := b.words(msg, int(unsafe.Sizeof(wire.Msg{})))
	ctl := b.words(uint64(20), uint64(unix.SOL_SOCKET)|uint64(unix.SCM_RIGHTS)<<32, uint64(0))
	b.do(what, wire.DoStore32, ctl+16, r)
	hdr := b.words(uint64(0), uint64(0), iov, 1, ctl, 24, uint64(0))
	b.do(what, unix.SYS_SENDMSG, reg(wire.RegSync), hdr, 0)
}

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
