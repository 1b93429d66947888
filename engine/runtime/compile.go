//go:build linux

package runtime

import (
	"encoding/json"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// input is everything that a container's program is made of.
type input struct {
	spec    *specs.Spec
	root    string // absolute path of the root file system
	filter  []byte // compiled seccomp filter, empty: none
	options CreateOptions
	groups  groupFiles
	oomAdj  int    // if the spec names none
	ownCaps uint64 // what the daemon itself may give away
}

// groupFiles say how a process gets into the container's cgroups.
type groupFiles struct {
	tasks   []string   // v1: a process writes "0" to each
	v2      string     // v2: directory to be born into, empty without v2
	oom     string     // file with the oom_kill counter
	visible []visibleV // for a mount of type cgroup
	unified bool       // v2 only
}

type visibleV struct{ name, path string }

// compile turns a container into the program of its first process.
func compile(in input) ([]byte, error) {
	s := in.spec
	if err := validate(s); err != nil {
		return nil, err
	}
	ns, err := sortNamespaces(s.Linux.Namespaces)
	if err != nil {
		return nil, err
	}
	p := newProgram()
	b := &builder{program: p, in: in, ns: ns, userns: ns.all&unix.CLONE_NEWUSER != 0}
	b.header()
	b.openProc(s.Process)
	b.enterCgroups(in.groups)
	b.namespaces()
	b.oomScore(s.Process.OOMScoreAdj)
	b.names()
	b.rootfs()
	b.process(s.Process, in.filter, true)
	return p.encode()
}

// builder adds the parts of a container to its program.
type builder struct {
	*program
	in     input
	ns     namespaces
	userns bool
	root   reg // O_PATH descriptor of the root file system
	tty    reg // the terminal's user side
	kernel []kernelMount

	late     bool // enters its PID namespace last
	confined bool // knows what it is to become with execve

	proc    reg    // the host's /proc, if the process is confined
	command string // to execute in place of argv[0]
}

func (b *builder) header() {
	s, o := b.in.spec, b.in.options
	h := &b.hdr
	if s.Process.Terminal {
		h.Flags |= wire.FlagTTY
		if c := s.Process.ConsoleSize; c != nil {
			h.Width, h.Height = uint16(c.Width), uint16(c.Height)
		}
	}
	if o.OpenStdin {
		h.Flags |= wire.FlagStdin
	}
	if b.ns.fresh&unix.CLONE_NEWPID == 0 {
		h.Flags |= wire.FlagNoPID
	}
	h.OOMFile = b.span(b.in.groups.oom)
	if o.Log.Driver != "none" {
		h.LogPath = b.logPath(o.Log)
		h.LogMax, h.LogFiles = uint64(max(o.Log.MaxSize, 0)), uint32(max(o.Log.MaxFiles, 1))
	}
	h.UIDMap, h.GIDMap = b.span(idMap(s.Linux.UIDMappings)), b.span(idMap(s.Linux.GIDMappings))
}

// logPath has what each line is to have besides behind it: a header that was larger would not be one to shims that run.
func (b *builder) logPath(l LogConfig) wire.Span {
	if len(l.Attrs) == 0 {
		return b.span(l.Path)
	}
	attrs, err := json.Marshal(l.Attrs)
	if err != nil {
		panic("strings have a form in JSON: " + err.Error())
	}
	b.hdr.Flags |= wire.FlagAttrs
	return wire.Span{Off: uint32(b.str(l.Path + "\x00" + string(attrs))), Len: uint32(len(l.Path))}
}

// enterCgroups moves the child, not its parent: writing "0" costs nothing, writing
// another process's pid waits for all CPUs.
func (b *builder) enterCgroups(g groupFiles) {
	if g.v2 != "" {
		r := b.program.open(g.v2, unix.O_PATH|unix.O_DIRECTORY)
		b.hdr.Cgroup = uint32(r)
		b.do("", unix.SYS_CLOSE, r) // of use to clone3 only
	}
	for _, path := range g.tasks {
		r := b.program.open(path, unix.O_WRONLY)
		b.do("join cgroup "+path, unix.SYS_WRITE, r, "0", 1)
		b.do("", unix.SYS_CLOSE, r)
	}
}

// writeFile writes an existing file in one go.
func (b *builder) writeFile(what, path, text string) {
	r := b.newReg()
	b.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_WRONLY|unix.O_CLOEXEC).to(r)
	b.do(what, unix.SYS_WRITE, r, text, len(text))
	b.do("", unix.SYS_CLOSE, r)
	b.release(r)
}

// release gives back the newest register.
func (b *builder) release(r reg) {
	if int(r) == b.reg-1 {
		b.reg--
	}
}

// loopback brings lo up in a network namespace of our own.
func (b *builder) loopback() {
	var ifr [40]byte
	copy(ifr[:], "lo")
	ifr[16] = unix.IFF_UP | unix.IFF_RUNNING
	at := b.bytes(ifr[:])
	r := b.newReg()
	b.do("bring lo up", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).to(r)
	b.do("bring lo up", unix.SYS_IOCTL, r, unix.SIOCSIFFLAGS, at)
	b.do("", unix.SYS_CLOSE, r)
	b.release(r)
}

func (b *builder) oomScore(adj *int) {
	v := b.in.oomAdj
	if adj != nil {
		v = *adj
	}
	text := strconv.Itoa(v)
	what := "set oom_score_adj to " + text
	r := b.newReg()
	var skip label
	b.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC).to(r).orElse(&skip)
	b.do(what, unix.SYS_WRITE, r, text, len(text)).warn()
	b.do("", unix.SYS_CLOSE, r)
	b.here(&skip)
	b.release(r)
}

func (b *builder) names() {
	s := b.in.spec
	own := b.ns.fresh&unix.CLONE_NEWUTS != 0
	if s.Hostname != "" && own {
		b.do("set hostname "+s.Hostname, unix.SYS_SETHOSTNAME, s.Hostname, len(s.Hostname))
	}
	if s.Domainname != "" && own {
		b.do("set domain name "+s.Domainname, unix.SYS_SETDOMAINNAME, s.Domainname, len(s.Domainname))
	}
}
