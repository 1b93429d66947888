//go:build linux

package runtime

import (
	"fmt"
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
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
