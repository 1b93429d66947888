//go:build linux

package runtime

import (
	"encoding/binary"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// confine makes an AppArmor profile or an SELinux label apply from execve on.
func (b *builder) confine(p *specs.Process) {
	switch {
	case b.confined:
	case p.ApparmorProfile == unconfined && !hasAppArmor():
	case p.ApparmorProfile != "":
		b.onExec("set AppArmor profile "+p.ApparmorProfile, "exec "+p.ApparmorProfile)
	case p.SelinuxLabel != "":
		b.onExec("set SELinux label "+p.SelinuxLabel, p.SelinuxLabel)
	}
}

// openProc keeps the host's /proc open: what is at /proc in the container may be a file of the image's (CVE-2019-16884). It
// comes before all steps, whose registers are used again.
func (b *builder) openProc(p *specs.Process) {
	if p.ApparmorProfile != "" || p.SelinuxLabel != "" {
		b.proc = b.program.open("/proc", unix.O_PATH|unix.O_DIRECTORY)
	}
}

// onExec says what to become with the next execve.
func (b *builder) onExec(what, text string) {
	r := b.newReg()
	b.do(what, unix.SYS_OPENAT, b.proc, "thread-self/attr/exec", unix.O_WRONLY|unix.O_CLOEXEC).to(r)
	b.do(what, unix.SYS_WRITE, r, text, len(text))
	b.do("", unix.SYS_CLOSE, r)
	b.release(r)
}

// seccomp loads a compiled filter: an array of struct sock_filter.
func (b *builder) seccomp(filter []byte) {
	if len(filter) == 0 {
		return
	}
	flags := int(binary.NativeEndian.Uint32(filter))
	code := b.bytes(filter[4:])
	prog := b.words(uint64(len(filter[4:])/8), code)
	b.do("load the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, prog)
}
