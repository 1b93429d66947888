//go:build linux

package runtime

import (
	"encoding/binary"
	"fmt"
	"path"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// process makes the child what the user asked for and ends in the command. A
// container's first process stops in the middle and waits for its start.
//
// Without no_new_privs only a privileged process may load a filter, so it comes
// before capabilities are dropped; with it, last.
func (b *builder) process(p *specs.Process, filter []byte, first bool) {
	if err := validateProcess(p); err != nil {
		b.fail(err)
		return
	}
	withInit := first && b.in.options.Init
	b.rlimits(p.Rlimits)
	b.personality()
	b.chdir(p.Cwd, first)
	caps := b.capabilities(p.Capabilities)
	if first {
		b.ask(wire.MsgReady)
	}
	if !withInit {
		b.session(p.Terminal)
	}
	b.streams(p.Terminal)
	b.confine(p)
	if !p.NoNewPrivileges {
		b.seccomp(filter)
	}
	b.bounding(caps)
	b.user(p.User)
	b.setCaps(caps)
	b.do("enter working directory "+p.Cwd, wire.DoCheckCwd)
	if p.NoNewPrivileges {
		b.do("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	if p.NoNewPrivileges {
		b.seccomp(filter)
	}
	if withInit {
		b.reaper(p.Terminal)
	}
	b.exec(p)
}

// rlimits that cannot be raised are a warning: the hard limit then stays, and the
// soft one is brought as close as it goes.
func (b *builder) rlimits(list []specs.POSIXRlimit) {
	for _, l := range list {
		res, ok := rlimitNumbers[strings.ToUpper(l.Type)]
		if !ok {
			b.fail(fmt.Errorf("unknown rlimit %q", l.Type))
			return
		}
		what := fmt.Sprintf("set %s to %s:%s", l.Type, limitText(l.Soft), limitText(l.Hard))
		var next, closest label
		set := b.words(l.Soft, l.Hard)
		b.do(what, unix.SYS_PRLIMIT64, 0, res, set, 0).then(&next).orElse(&closest)
		b.here(&closest)
		b.do(what, unix.SYS_PRLIMIT64, 0, res, set, 0).warn()
		var now unix.Rlimit
		if unix.Getrlimit(res, &now) == nil {
			hard := min(now.Max, l.Hard)
			b.do(what, unix.SYS_PRLIMIT64, 0, res, b.words(min(l.Soft, hard), hard), 0).ignore()
		}
		b.here(&next)
	}
}

func limitText(v uint64) string {
	if v == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}

var rlimitNumbers = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
	"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11,
	"RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

func (b *builder) personality() {
	p := b.in.spec.Linux.Personality
	if p == nil {
		return
	}
	if len(p.Flags) > 0 || (p.Domain != specs.PerLinux && p.Domain != specs.PerLinux32) {
		b.fail(fmt.Errorf("personality %s %v is not supported", p.Domain, p.Flags))
	}
	domain := 0
	if p.Domain == specs.PerLinux32 {
		domain = 8
	}
	b.do("set personality", unix.SYS_PERSONALITY, domain)
}

func cwd(dir string) string {
	if dir == "" {
		return "/"
	}
	return path.Clean(dir)
}

// chdir enters the working directory, still as root: the user need not be able to reach it. A container's own is made if
// it is missing, an exec session's is not.
func (b *builder) chdir(dir string, make bool) {
	dir = cwd(dir)
	if !make {
		b.do("enter working directory "+dir, unix.SYS_CHDIR, dir)
		return
	}
	var done label
	b.do("", unix.SYS_CHDIR, dir).then(&done).ignore()
	parts := strings.Split(strings.TrimPrefix(dir, "/"), "/")
	for i := range parts {
		b.do("make working directory "+dir, unix.SYS_MKDIRAT, unix.AT_FDCWD, "/"+strings.Join(parts[:i+1], "/"), 0o755).ignore()
	}
	b.do("enter working directory "+dir, unix.SYS_CHDIR, dir)
	b.here(&done)
}

// session makes the process the leader of a session and of its terminal.
func (b *builder) session(terminal bool) {
	b.do("", unix.SYS_SETSID).ignore()
	if terminal {
		b.do("make the terminal the controlling one", unix.SYS_IOCTL, b.tty, unix.TIOCSCTTY, 0)
	}
}

func (b *builder) streams(terminal bool) {
	for fd := range 3 {
		from := reg(wire.RegStdin + fd)
		if terminal {
			from = b.tty
		}
		b.do("connect stream "+strconv.Itoa(fd), unix.SYS_DUP3, from, fd, 0)
	}
}

func (b *builder) user(u specs.User) {
	if u.Umask != nil {
		b.do("", unix.SYS_UMASK, *u.Umask)
	} else {
		b.do("", unix.SYS_UMASK, 0o022)
	}
	b.do("", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	gids := make([]byte, 0, 4*len(u.AdditionalGids)+4)
	for _, g := range u.AdditionalGids {
		gids = binary.NativeEndian.AppendUint32(gids, g)
	}
	b.do("set additional groups", unix.SYS_SETGROUPS, len(u.AdditionalGids), b.bytes(append(gids, 0, 0, 0, 0)))
	b.do(fmt.Sprintf("become group %d", u.GID), unix.SYS_SETRESGID, u.GID, u.GID, u.GID)
	b.do(fmt.Sprintf("become user %d", u.UID), unix.SYS_SETRESUID, u.UID, u.UID, u.UID)
	b.do("", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0, 0, 0, 0)
}
