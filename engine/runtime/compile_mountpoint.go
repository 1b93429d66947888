//go:build linux

package runtime

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Flags of move_mount: both sides are given by descriptors alone.
const moveEmpty = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH

// attach moves a detached mount to a path in the container and lets go of it.
func (b *builder) attach(what string, tree reg, dest string, dir bool) {
	b.put(what, tree, dest, dir)
	b.do("", unix.SYS_CLOSE, tree)
}

// put leaves it open.
func (b *builder) put(what string, tree reg, dest string, dir bool) {
	t := b.target(what, dest, dir)
	b.do(what, unix.SYS_MOVE_MOUNT, tree, "", t, "", moveEmpty)
	b.do("", unix.SYS_CLOSE, t)
	b.release(t)
}

// inRoot opens a path below the root. Symbolic links are resolved as if the root
// were /, links of /proc are not followed at all.
func (b *builder) inRoot(what, rel string, flags int) step {
	if rel == "" {
		rel = "."
	}
	how := b.words(uint64(flags|unix.O_CLOEXEC), uint64(0), uint64(unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS))
	return b.do(what, unix.SYS_OPENAT2, b.root, rel, how, 24)
}

// target opens the place for a mount and makes it when it is missing.
func (b *builder) target(what, dest string, dir bool) reg {
	rel := strings.TrimPrefix(path.Clean("/"+dest), "/")
	r := b.newReg()
	var done label
	b.inRoot(what, rel, unix.O_PATH).to(r).then(&done).ignore()
	tmp := b.newReg()
	b.makeParents(what, rel, tmp)
	b.inRoot(what, parent(rel), unix.O_PATH|unix.O_DIRECTORY).to(tmp)
	if dir {
		b.do(what, unix.SYS_MKDIRAT, tmp, path.Base(rel), 0o755).ok(unix.EEXIST)
	} else {
		b.do(what, unix.SYS_MKNODAT, tmp, path.Base(rel), unix.S_IFREG|0o644, 0).ok(unix.EEXIST)
	}
	b.do("", unix.SYS_CLOSE, tmp)
	b.release(tmp)
	b.inRoot(what, rel, unix.O_PATH).to(r)
	b.here(&done)
	return r
}

// makeParents makes the missing directories above rel.
func (b *builder) makeParents(what, rel string, tmp reg) {
	parts := strings.Split(rel, "/")
	for i := 1; i < len(parts); i++ {
		prefix := strings.Join(parts[:i], "/")
		var exists, next label
		b.inRoot(what, prefix, unix.O_PATH|unix.O_DIRECTORY).to(tmp).then(&exists).ignore()
		b.inRoot(what, parent(prefix), unix.O_PATH|unix.O_DIRECTORY).to(tmp)
		b.do(what, unix.SYS_MKDIRAT, tmp, parts[i-1], 0o755).ok(unix.EEXIST)
		b.do("", unix.SYS_CLOSE, tmp).then(&next)
		b.here(&exists)
		b.do("", unix.SYS_CLOSE, tmp)
		b.here(&next)
	}
}

func parent(rel string) string {
	if d := path.Dir(rel); d != "." {
		return d
	}
	return ""
}
