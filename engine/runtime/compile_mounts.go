//go:build linux

package runtime

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Flags of move_mount: both sides are given by descriptors alone.
const moveEmpty = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH

// Commands of fsconfig.
const (
	fsSetFlag   = 0
	fsSetString = 1
	fsCreate    = 6
)

// mountPlan is a mount with its options understood.
type mountPlan struct {
	specs.Mount
	bind, rec   bool
	file        bool // the source is not a directory
	set, clear  uint64
	recAttr     bool // ro and the like for everything below, too
	propagation uint64
	propRec     bool
	data        []string
	tree        reg // detached tree of a bind mount
}

// rootfs builds the container's view of the file system and makes it the root.
//
// Sources of bind mounts are cloned first, while mounts still propagate as on the
// host. All targets are resolved by openat2 below the new root, never following a
// link out of it, and mounts are moved to the descriptors that gives.
func (b *builder) rootfs() {
	s := b.in.spec
	plans := make([]mountPlan, 0, len(s.Mounts))
	for _, m := range s.Mounts {
		plan, err := planMount(m)
		if err != nil {
			b.fail(err)
			return
		}
		if plan.bind {
			b.cloneSource(&plan)
		}
		plans = append(plans, plan)
	}
	b.newRoot()
	b.do("", unix.SYS_UMASK, 0)
	for i := range plans {
		b.mount(&plans[i])
	}
	ownDev := ownsDev(plans)
	b.devices(ownDev)
	if hasEarlyHooks(s.Hooks) {
		b.ask(wire.MsgHooks)
	}
	b.pivot()
	b.labelQueues(plans)
	if ownDev {
		b.devLinks()
	}
	if s.Process.Terminal {
		b.terminal(s.Process.User, ownDev)
	}
	b.sysctls()
	for _, path := range s.Linux.ReadonlyPaths {
		b.readonly(path)
	}
	for _, path := range s.Linux.MaskedPaths {
		b.mask(path)
	}
	if s.Root.Readonly {
		attr := b.mountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0)
		b.do("make the root read-only", unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, "/", 0, attr, 32)
	}
}

// ownsDev says whether /dev is a file system of the container's own to be filled.
func ownsDev(plans []mountPlan) bool {
	own := true
	for _, m := range plans {
		if path.Clean(m.Destination) == "/dev" {
			own = !m.bind
		}
	}
	return own
}

func (b *builder) newRoot() {
	flags := unix.MS_REC | unix.MS_PRIVATE
	switch p := b.in.spec.Linux.RootfsPropagation; p {
	case "", "private", "rprivate":
	case "slave", "rslave":
		flags = unix.MS_REC | unix.MS_SLAVE
	default:
		b.fail(fmt.Errorf("linux.rootfsPropagation %q is not supported: private or slave", p))
	}
	b.do("separate mounts from the host", unix.SYS_MOUNT, "", "/", 0, flags, 0)
	b.do("bind "+b.in.root, unix.SYS_MOUNT, b.in.root, b.in.root, 0, unix.MS_BIND|unix.MS_REC, 0)
	b.root = b.newReg()
	b.do("open "+b.in.root, unix.SYS_OPENAT, unix.AT_FDCWD, b.in.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC).to(b.root)
}

func (b *builder) pivot() {
	b.do("enter the root", unix.SYS_FCHDIR, b.root)
	b.do("pivot_root", unix.SYS_PIVOT_ROOT, ".", ".")
	b.do("detach the host's root", unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	b.do("enter the root", unix.SYS_CHDIR, "/")
	b.do("", unix.SYS_CLOSE, b.root)
}

// mountAttr is a struct mount_attr.
func (b *builder) mountAttr(set, clear, propagation uint64) ref {
	return b.words(set, clear, propagation, uint64(0))
}

func (b *builder) cloneSource(m *mountPlan) {
	flags := unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if m.rec {
		flags |= unix.AT_RECURSIVE
	}
	m.tree = b.newReg()
	b.do("bind source "+m.Source, unix.SYS_OPEN_TREE, unix.AT_FDCWD, m.Source, flags).to(m.tree)
	b.setAttr(m, m.tree)
}

// setAttr applies flags and propagation to a detached mount.
func (b *builder) setAttr(m *mountPlan, tree reg) {
	prop, rec := m.propagation, m.propRec
	if prop == 0 && m.bind {
		prop, rec = unix.MS_PRIVATE, true
	}
	if m.bind && (m.set|m.clear) != 0 {
		at := unix.AT_EMPTY_PATH
		if m.recAttr {
			at |= unix.AT_RECURSIVE
		}
		b.do("set options of "+m.Destination, unix.SYS_MOUNT_SETATTR, tree, "", at, b.mountAttr(m.set, m.clear, 0), 32)
	}
	if prop != 0 {
		at := unix.AT_EMPTY_PATH
		if rec {
			at |= unix.AT_RECURSIVE
		}
		b.do("set propagation of "+m.Destination, unix.SYS_MOUNT_SETATTR, tree, "", at, b.mountAttr(0, 0, prop), 32)
	}
}

func (b *builder) mount(m *mountPlan) {
	what := fmt.Sprintf("mount %s on %s", m.Type, m.Destination)
	switch {
	case m.bind:
		what = fmt.Sprintf("mount %s on %s", m.Source, m.Destination)
		b.attach(what, m.tree, m.Destination, !m.file)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		b.mountCgroup(m, what)
	default:
		r := b.newFS(m, what)
		b.setAttr(m, r)
		b.attach(what, r, m.Destination, true)
		b.release(r)
	}
}

// newFS makes a file system that is mounted nowhere yet.
func (b *builder) newFS(m *mountPlan, what string) reg {
	mnt := b.newReg()
	fs := b.newReg()
	b.do(what, unix.SYS_FSOPEN, m.Type, unix.FSOPEN_CLOEXEC).to(fs)
	source := m.Source
	if source == "" {
		source = m.Type
	}
	b.do(what, unix.SYS_FSCONFIG, fs, fsSetString, "source", source, 0)
	for _, o := range m.data {
		if key, value, ok := strings.Cut(o, "="); ok {
			b.do(what+" with "+o, unix.SYS_FSCONFIG, fs, fsSetString, key, value, 0)
		} else {
			b.do(what+" with "+o, unix.SYS_FSCONFIG, fs, fsSetFlag, o, 0, 0)
		}
	}
	if l := b.in.spec.Linux.MountLabel; l != "" && labelled(m) {
		b.do(what+" with label "+l, unix.SYS_FSCONFIG, fs, fsSetString, "context", l, 0)
	}
	b.do(what, unix.SYS_FSCONFIG, fs, fsCreate, 0, 0, 0)
	b.do(what, unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, m.set).to(mnt)
	b.do("", unix.SYS_CLOSE, fs)
	b.release(fs)
	return mnt
}

// labelled: file systems that show the kernel's own things have labels of the policy's.
func labelled(m *mountPlan) bool {
	if slices.ContainsFunc(m.data, func(o string) bool { return strings.HasPrefix(o, "context=") }) {
		return false
	}
	return !slices.Contains([]string{"proc", "sysfs", "mqueue", "cgroup", "cgroup2"}, m.Type)
}

// labelQueues: a mount of POSIX message queues takes no label, its directory may; not from within a user namespace.
func (b *builder) labelQueues(plans []mountPlan) {
	l := b.in.spec.Linux.MountLabel
	for _, m := range plans {
		if l != "" && !b.userns && m.Type == "mqueue" {
			b.do("label "+m.Destination, unix.SYS_LSETXATTR, m.Destination, "security.selinux", l, len(l), 0).ok(unix.ENOTSUP)
		}
	}
}

// attach moves a detached mount to a path in the container.
func (b *builder) attach(what string, tree reg, dest string, dir bool) {
	t := b.target(what, dest, dir)
	b.do(what, unix.SYS_MOVE_MOUNT, tree, "", t, "", moveEmpty)
	b.do("", unix.SYS_CLOSE, t)
	b.do("", unix.SYS_CLOSE, tree)
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

// readonly makes a path and everything below it read-only, if it exists.
func (b *builder) readonly(path string) {
	what := "make " + path + " read-only"
	b.do(what, unix.SYS_MOUNT, path, path, 0, unix.MS_BIND|unix.MS_REC, 0).ok(unix.ENOENT)
	attr := b.mountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0)
	b.do(what, unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, path, unix.AT_RECURSIVE, attr, 32).ok(unix.ENOENT)
}

// mask hides a file behind /dev/null and a directory behind an empty one.
func (b *builder) mask(path string) {
	var next, dir label
	what := "mask " + path
	b.do(what, unix.SYS_MOUNT, "/dev/null", path, 0, unix.MS_BIND, 0).ok(unix.ENOENT).then(&next).orElse(&dir)
	b.here(&dir)
	options := "size=0k,nr_inodes=1"
	if l := b.in.spec.Linux.MountLabel; l != "" {
		options += `,context="` + l + `"`
	}
	b.do(what, unix.SYS_MOUNT, "tmpfs", path, "tmpfs", unix.MS_RDONLY, options)
	b.here(&next)
}

// mountCgroup shows the container its own cgroups, read-only unless told otherwise.
// Binding them costs a tenth of mounting each hierarchy anew and shows the same.
func (b *builder) mountCgroup(m *mountPlan, what string) {
	attr := b.mountAttr(m.set, 0, unix.MS_PRIVATE)
	clone := func(path string) reg {
		r := b.newReg()
		b.do(what, unix.SYS_OPEN_TREE, unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE).to(r)
		b.do(what, unix.SYS_MOUNT_SETATTR, r, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr, 32)
		return r
	}
	g := b.in.groups
	if g.unified {
		r := clone(g.v2)
		b.attach(what, r, m.Destination, true)
		b.release(r)
		return
	}
	tmp := mountPlan{Mount: specs.Mount{Type: "tmpfs", Source: "cgroup"}, data: []string{"mode=755"},
		set: m.set &^ unix.MOUNT_ATTR_RDONLY}
	fs := b.newFS(&tmp, what)
	t := b.target(what, m.Destination, true)
	b.do(what, unix.SYS_MOVE_MOUNT, fs, "", t, "", moveEmpty)
	b.do("", unix.SYS_CLOSE, t)
	b.release(t)
	for _, v := range g.visible {
		b.do(what, unix.SYS_MKDIRAT, fs, v.name, 0o755).ok(unix.EEXIST)
		r := clone(v.path)
		t := b.newReg()
		b.do(what, unix.SYS_OPENAT, fs, v.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC).to(t)
		b.do(what, unix.SYS_MOVE_MOUNT, r, "", t, "", moveEmpty)
		b.do("", unix.SYS_CLOSE, t)
		b.do("", unix.SYS_CLOSE, r)
		b.release(t)
		b.release(r)
	}
	if m.set&unix.MOUNT_ATTR_RDONLY != 0 {
		b.do(what, unix.SYS_MOUNT_SETATTR, fs, "", unix.AT_EMPTY_PATH, b.mountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0), 32)
	}
	b.do("", unix.SYS_CLOSE, fs)
	b.release(fs)
}

// planMount understands a mount's options; unknown ones are refused by the kernel
// (file systems) or here (bind mounts).
func planMount(m specs.Mount) (mountPlan, error) {
	p := mountPlan{Mount: m}
	if !path.IsAbs(m.Destination) || path.Clean(m.Destination) == "/" {
		return p, fmt.Errorf("mount destination %q: must be an absolute path below /", m.Destination)
	}
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return p, fmt.Errorf("mount %s: id-mapped mounts are not supported", m.Destination)
	}
	p.bind = m.Type == "bind"
	for _, o := range m.Options {
		if !p.option(o) {
			p.data = append(p.data, o)
		}
	}
	if !p.bind {
		if p.Type == "" {
			return p, fmt.Errorf("mount %s: type is missing", m.Destination)
		}
		return p, nil
	}
	if len(p.data) > 0 {
		return p, fmt.Errorf("mount %s: unknown option %q for a bind mount", m.Destination, p.data[0])
	}
	st, err := os.Stat(m.Source)
	if err != nil {
		return p, fmt.Errorf("bind mount on %s: %w", m.Destination, err)
	}
	p.file = !st.IsDir()
	return p, nil
}

func (p *mountPlan) option(o string) bool {
	prop := func(flag int, rec bool) { p.propagation, p.propRec = uint64(flag), rec }
	attr := func(set, clear uint64) {
		p.set = p.set&^clear | set
		p.clear = p.clear&^set | clear
	}
	atime := func(v uint64) { p.set, p.clear = p.set&^unix.MOUNT_ATTR__ATIME|v, p.clear|unix.MOUNT_ATTR__ATIME }
	name := o
	if rest, ok := strings.CutPrefix(o, "r"); ok && recursiveOption(rest) {
		name, p.recAttr = rest, true
	}
	switch name {
	case "bind":
		p.bind = true
	case "rbind":
		p.bind, p.rec = true, true
	case "ro":
		attr(unix.MOUNT_ATTR_RDONLY, 0)
	case "rw":
		attr(0, unix.MOUNT_ATTR_RDONLY)
	case "nosuid":
		attr(unix.MOUNT_ATTR_NOSUID, 0)
	case "suid":
		attr(0, unix.MOUNT_ATTR_NOSUID)
	case "nodev":
		attr(unix.MOUNT_ATTR_NODEV, 0)
	case "dev":
		attr(0, unix.MOUNT_ATTR_NODEV)
	case "noexec":
		attr(unix.MOUNT_ATTR_NOEXEC, 0)
	case "exec":
		attr(0, unix.MOUNT_ATTR_NOEXEC)
	case "nodiratime":
		attr(unix.MOUNT_ATTR_NODIRATIME, 0)
	case "diratime":
		attr(0, unix.MOUNT_ATTR_NODIRATIME)
	case "nosymfollow":
		attr(unix.MOUNT_ATTR_NOSYMFOLLOW, 0)
	case "relatime":
		atime(unix.MOUNT_ATTR_RELATIME)
	case "noatime":
		atime(unix.MOUNT_ATTR_NOATIME)
	case "strictatime":
		atime(unix.MOUNT_ATTR_STRICTATIME)
	case "private":
		prop(unix.MS_PRIVATE, false)
	case "rprivate":
		prop(unix.MS_PRIVATE, true)
	case "slave":
		prop(unix.MS_SLAVE, false)
	case "rslave":
		prop(unix.MS_SLAVE, true)
	case "shared":
		prop(unix.MS_SHARED, false)
	case "rshared":
		prop(unix.MS_SHARED, true)
	case "defaults", "async", "mand", "nomand":
	default:
		return false
	}
	return true
}

func recursiveOption(o string) bool {
	switch o {
	case "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec":
		return true
	}
	return false
}
