//go:build linux

package runtime

import (
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

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
