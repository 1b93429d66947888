//go:build linux

package runtime

import (
	"slices"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// isWatched says that somebody in the container's PID namespace may trace processes that come to it: the container itself
// (CAP_SYS_PTRACE), or others that have joined it (shared) or that it has joined. With users of its own nobody may, before the
// newcomer is one of them.
func (b *builder) isWatched(shared bool) bool {
	if b.ns.all&unix.CLONE_NEWPID == 0 || b.userns {
		return false
	}
	p := b.in.spec.Process
	traces := p != nil && p.Capabilities != nil && slices.Contains(p.Capabilities.Bounding, "CAP_SYS_PTRACE")
	return shared || traces || b.ns.paths[unix.CLONE_NEWPID] != ""
}

// newcomer goes on in a child that is born into the container's PID namespace, where the container sees it from now on. By then
// its root is the container's and nothing of the host is open: who may trace processes in there would have come to the host through
// /proc/PID/root (CVE-2016-9962 by mechanism). This process stays outside, hands signals on and ends as the child ends; it is
// one more in the container's cgroups, so the way is taken only where somebody watches (isWatched).
func (b *builder) newcomer(p *specs.Process) {
	if p != nil {
		b.confine(p) // with the host's /proc
		b.confined = true
	}
	if b.proc != 0 {
		b.do("", unix.SYS_CLOSE, b.proc)
	}
	var parent, child label
	pid := b.newReg()
	b.do("fork into the PID namespace", wire.DoFork, 0).to(pid).then(&parent)
	b.do("", unix.SYS_GETPID).then(&child)
	b.here(&parent)
	b.do("", wire.DoReap, pid)
	b.here(&child)
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
}
