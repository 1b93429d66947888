//go:build linux

package runtime

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// defaultPath is searched for commands when the process has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// reaper leaves this process behind as PID 1 and goes on in a child.
func (b *builder) reaper(terminal bool) {
	var parent, child label
	pid := b.newReg()
	b.do("fork behind init", wire.DoFork, 0).to(pid).then(&parent)
	b.do("", unix.SYS_GETPID).then(&child)
	b.here(&parent)
	b.do("", wire.DoReap, pid)
	b.here(&child)
	b.session(terminal)
}

// exec executes the command (argv[0], unless the builder has another), found in PATH unless it has a slash in it.
func (b *builder) exec(p *specs.Process) {
	name := cmp.Or(b.command, p.Args[0])
	argv, envp := b.strings(p.Args), b.strings(p.Env)
	b.do("drop all other descriptors", unix.SYS_CLOSE_RANGE, 3, uint64(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	b.do("", wire.DoSignals)
	if strings.Contains(name, "/") {
		b.do(fmt.Sprintf("exec: %q", name), wire.DoExec, name, argv, envp)
		b.do(fmt.Sprintf("exec: %q", name), wire.DoExecFail)
		return
	}
	for dir := range strings.SplitSeq(searchPath(p.Env), ":") {
		if dir == "" {
			dir = "."
		}
		file := path.Join(dir, name)
		if name == "" {
			file = "" // not the directory: the kernel finds no such file
		}
		b.do(fmt.Sprintf("exec: %q", name), wire.DoExec, file, argv, envp)
	}
	b.do(fmt.Sprintf("exec: %q: executable file not found in $PATH", name), wire.DoExecFail).ignore()
}

func searchPath(env []string) string {
	found := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			found = v
		}
	}
	return found
}
