//go:build linux

package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

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

var nsFlags = map[specs.LinuxNamespaceType]int{
	specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.MountNamespace: unix.CLONE_NEWNS,
	specs.IPCNamespace: unix.CLONE_NEWIPC, specs.UTSNamespace: unix.CLONE_NEWUTS, specs.UserNamespace: unix.CLONE_NEWUSER,
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP, specs.TimeNamespace: unix.CLONE_NEWTIME,
}

// namespaces sorts the spec's namespaces into those to make and those to join.
type namespaces struct {
	fresh int            // flags
	all   int            // flags
	paths map[int]string // to join
}

func sortNamespaces(list []specs.LinuxNamespace) (namespaces, error) {
	n := namespaces{paths: map[int]string{}}
	for _, ns := range list {
		flag, ok := nsFlags[ns.Type]
		if !ok {
			return n, fmt.Errorf("unknown namespace type %q", ns.Type)
		}
		if n.all&flag != 0 {
			return n, fmt.Errorf("namespace %q is listed twice", ns.Type)
		}
		n.all |= flag
		if ns.Path == "" {
			n.fresh |= flag
		} else {
			n.paths[flag] = ns.Path
		}
	}
	if n.fresh&unix.CLONE_NEWNS == 0 {
		return n, fmt.Errorf("a container needs a mount namespace of its own")
	}
	return n, nil
}

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

func idMap(list []specs.LinuxIDMapping) string {
	var t strings.Builder
	for _, m := range list {
		fmt.Fprintf(&t, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return t.String()
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

// namespaces arranges that the child is in the right ones.
//
// A network, IPC, UTS or PID namespace to join is entered by the shim's thread
// around the fork, while it has all the privileges. New ones are made at the
// fork, all at once, so that they belong to a new user namespace; the cgroup
// namespace only after the child is in its cgroup, which becomes its root, or which
// it could not enter from within a namespace that it is to join.
// A user namespace to join must be entered by the child before the others are made:
// it then forks once more and its child becomes the shim's.
func (b *builder) namespaces() {
	atFork := b.ns.fresh &^ (unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME)
	for _, flag := range []int{unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWPID} {
		if path, ok := b.ns.paths[flag]; ok {
			b.join(path, flag)
		}
	}
	if path, ok := b.ns.paths[unix.CLONE_NEWCGROUP]; ok {
		b.setns("cgroup", path, unix.CLONE_NEWCGROUP)
	}
	if path, ok := b.ns.paths[unix.CLONE_NEWUSER]; ok {
		b.setns("user", path, unix.CLONE_NEWUSER)
		b.nest(atFork)
	} else {
		b.hdr.CloneFlags = uint64(atFork)
	}
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	if b.ns.fresh&unix.CLONE_NEWCGROUP != 0 {
		b.do("make cgroup namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
	if b.ns.fresh&unix.CLONE_NEWUSER != 0 {
		b.ask(wire.MsgMap)
	}
	if b.userns {
		b.becomeRoot()
	}
	b.timeNamespace()
	if b.ns.fresh&unix.CLONE_NEWNET != 0 {
		b.loopback()
	}
}

// nest forks once more; the child goes on and is the shim's child, too.
func (b *builder) nest(flags int) {
	b.hdr.Flags |= wire.FlagNested
	var parent, child label
	pid := b.newReg()
	b.do("fork into the user namespace", wire.DoFork, flags|unix.CLONE_PARENT).to(pid).then(&parent)
	b.do("", unix.SYS_GETPID).then(&child)
	b.here(&parent)
	m := b.bytes(structBytes(&wire.Msg{Kind: wire.MsgPid}))
	b.do("", wire.DoStore32, m+8, pid)
	b.do("", unix.SYS_WRITE, reg(wire.RegSync), m, 16)
	b.do("", wire.DoExit, 0)
	b.here(&child)
	b.do("wait for the shim", wire.DoAwait)
}

func (b *builder) becomeRoot() {
	b.do("setgid 0 in the user namespace", unix.SYS_SETRESGID, 0, 0, 0)
	b.do("setgroups in the user namespace", unix.SYS_SETGROUPS, 0, 0).ok(unix.EPERM)
	b.do("setuid 0 in the user namespace", unix.SYS_SETRESUID, 0, 0, 0)
	b.do("", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
}

// setns makes the child itself enter a namespace that the shim has opened.
func (b *builder) setns(name, path string, flag int) {
	r := b.program.open(path, unix.O_RDONLY)
	b.do("join "+name+" namespace "+path, unix.SYS_SETNS, r, flag)
	b.do("", unix.SYS_CLOSE, r)
}

func (b *builder) timeNamespace() {
	if path, ok := b.ns.paths[unix.CLONE_NEWTIME]; ok {
		b.setns("time", path, unix.CLONE_NEWTIME)
	}
	if b.ns.fresh&unix.CLONE_NEWTIME == 0 {
		return
	}
	b.do("make time namespace", unix.SYS_UNSHARE, unix.CLONE_NEWTIME)
	var t strings.Builder
	for _, clock := range []string{"monotonic", "boottime"} {
		if o, ok := b.in.spec.Linux.TimeOffsets[clock]; ok {
			fmt.Fprintf(&t, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
	}
	if t.Len() > 0 {
		b.writeFile("set time offsets", "/proc/self/timens_offsets", t.String())
	}
	b.enterOwnTime()
}

// enterOwnTime: what unshare made is for children only. Newer kernels let execve enter it (6.3), to older ones it must be said.
func (b *builder) enterOwnTime() {
	const what = "enter time namespace"
	r := b.newReg()
	b.do(what, unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/ns/time_for_children", unix.O_RDONLY|unix.O_CLOEXEC).to(r)
	b.do(what, unix.SYS_SETNS, r, unix.CLONE_NEWTIME)
	b.do("", unix.SYS_CLOSE, r)
	b.release(r)
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

// validate refuses what would otherwise be ignored.
func validate(s *specs.Spec) error {
	switch {
	case s.Process == nil || len(s.Process.Args) == 0:
		return fmt.Errorf("config.json: process.args is empty")
	case s.Root == nil || s.Root.Path == "":
		return fmt.Errorf("config.json: root.path is missing")
	case s.Linux == nil:
		return fmt.Errorf("config.json: the linux section is missing")
	case s.Linux.IntelRdt != nil, s.Linux.MemoryPolicy != nil, len(s.Linux.NetDevices) > 0:
		return fmt.Errorf("config.json: linux.intelRdt, linux.memoryPolicy and linux.netDevices are not supported")
	case s.Linux.MountLabel != "" && !hasSELinux():
		return fmt.Errorf("config.json: linux.mountLabel %q: SELinux is not enabled on this host", s.Linux.MountLabel)
	case s.Windows != nil || s.VM != nil || s.Solaris != nil || s.ZOS != nil || s.FreeBSD != nil:
		return fmt.Errorf("config.json: sections for other systems than Linux are not supported")
	}
	if err := validateHooks(s.Hooks); err != nil {
		return err
	}
	if err := validateNames(s); err != nil {
		return err
	}
	return validateProcess(s.Process)
}

func hasAppArmor() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

func hasSELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

func validateNames(s *specs.Spec) error {
	has := func(t specs.LinuxNamespaceType) bool {
		return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
	}
	switch {
	case (s.Hostname != "" || s.Domainname != "") && !has(specs.UTSNamespace):
		return fmt.Errorf("config.json: a hostname needs a uts namespace")
	case len(s.Linux.TimeOffsets) > 0 && !has(specs.TimeNamespace):
		return fmt.Errorf("config.json: time offsets need a time namespace")
	case has(specs.UserNamespace) && (len(s.Linux.UIDMappings) == 0 || len(s.Linux.GIDMappings) == 0) && !joins(s, specs.UserNamespace):
		return fmt.Errorf("config.json: a user namespace needs uid and gid mappings")
	case !has(specs.UserNamespace) && len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0:
		return fmt.Errorf("config.json: uid and gid mappings need a user namespace")
	}
	for clock := range s.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("config.json: unknown clock %q in time offsets", clock)
		}
	}
	return nil
}

func joins(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t && n.Path != "" })
}

func validateProcess(p *specs.Process) error {
	switch {
	case p.ApparmorProfile != "" && !hasAppArmor():
		return fmt.Errorf("process.apparmorProfile %q: AppArmor is not enabled on this host", p.ApparmorProfile)
	case p.SelinuxLabel != "" && !hasSELinux():
		return fmt.Errorf("process.selinuxLabel %q: SELinux is not enabled on this host", p.SelinuxLabel)
	case p.SelinuxLabel != "" && p.ApparmorProfile != "":
		return fmt.Errorf("process: both an AppArmor profile and an SELinux label: no kernel has both")
	case p.Scheduler != nil, p.IOPriority != nil, p.ExecCPUAffinity != nil:
		return fmt.Errorf("process.scheduler, ioPriority and execCPUAffinity are not supported")
	case p.CommandLine != "" || p.User.Username != "":
		return fmt.Errorf("process.commandLine and user.username are for Windows")
	case p.Cwd != "" && p.Cwd[0] != '/':
		return fmt.Errorf("process.cwd %q is not an absolute path", p.Cwd)
	}
	for _, e := range p.Env {
		if !strings.Contains(e, "=") || strings.ContainsRune(e, 0) {
			return fmt.Errorf("process.env: %q is not NAME=VALUE", e)
		}
	}
	return nil
}
