//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/cgroup"
	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Create implements Runtime.
func (s *Shoal) Create(ctx context.Context, o CreateOptions) (State, error) {
	sp, err := readSpec(o.Bundle)
	if err != nil {
		return State{}, fmt.Errorf("create container: %w", err)
	}
	p := s.place(o.ID)
	rec := record{CreateOptions: o, Annotations: sp.Annotations, Layout: wire.Layout}
	if o.Runtime == "" { // another runtime runs them itself
		rec.Hooks = sp.Hooks
	}
	if err := p.reserve(rec); err != nil {
		return State{}, fmt.Errorf("create container: %w", err)
	}
	pid, err := s.make(ctx, p, rec, sp)
	if err != nil {
		return State{}, errors.Join(fmt.Errorf("create container: %w", err), s.Delete(context.WithoutCancel(ctx), o.ID, true))
	}
	return State{ID: o.ID, Status: Created, Pid: pid}, nil
}

func (s *Shoal) make(ctx context.Context, p place, o record, sp *specs.Spec) (pid int, err error) {
	g, err := s.tree.Group(o.CgroupPath)
	if err != nil {
		return 0, err
	}
	if err := g.Create(); err != nil {
		return 0, err
	}
	if err := g.Apply(limits(sp)); err != nil {
		return 0, err
	}
	if sp.Process != nil {
		warnMissingCaps(s.log, o.ID, sp.Process.Capabilities, s.caps)
	}
	in := s.input(o.CreateOptions, sp, g)
	if sp.Linux != nil {
		if in.filter, err = s.filter(sp.Linux.Seccomp); err != nil {
			return 0, err
		}
	}
	if o.Runtime != "" {
		if err := s.withoutConf(o.CreateOptions, sp); err != nil {
			return 0, err
		}
		return s.makeOther(ctx, p, in)
	}
	blob, err := compile(in)
	if err != nil {
		return 0, err
	}
	conn, err := s.launch(p)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r, err := s.makeWithHooks(ctx, conn, o, in, blob)
	switch {
	case errors.Is(err, shim.ErrGone):
		return 0, errors.New("the shim ended before the container was made")
	case err != nil:
		return 0, err
	case r.Op != wire.OpCreated || len(r.Payload) < 4:
		return 0, fmt.Errorf("the shim answers create with %d", r.Op)
	}
	s.warn(o.ID, r.Payload[4:])
	return int(binary.NativeEndian.Uint32(r.Payload)), nil
}

// limits are the spec's resources with the devices that every container may use.
func limits(sp *specs.Spec) *specs.LinuxResources {
	var r specs.LinuxResources
	if sp.Linux != nil && sp.Linux.Resources != nil {
		r = *sp.Linux.Resources
	}
	r.Devices = cgroup.WithDefaults(r.Devices)
	return &r
}

// input collects what a container's program is compiled from, all but its filter.
func (s *Shoal) input(o CreateOptions, sp *specs.Spec, g *cgroup.Group) input {
	in := input{spec: sp, options: o, ownCaps: s.caps, groups: groupsOf(g)}
	if sp.Root != nil {
		in.root = sp.Root.Path
		if !strings.HasPrefix(in.root, "/") {
			in.root = o.Bundle + "/" + in.root
		}
	}
	return in
}

func groupsOf(g *cgroup.Group) groupFiles {
	f := groupFiles{tasks: g.TaskFiles(), v2: g.V2Dir(), oom: g.OOMFile(), unified: g.Unified()}
	dirs := g.Dirs()
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		f.visible = append(f.visible, visibleV{name, dirs[name]})
	}
	return f
}

// filter compiles a seccomp profile: its flags, then an array of struct sock_filter.
func (s *Shoal) filter(p *specs.LinuxSeccomp) ([]byte, error) {
	if p == nil {
		return nil, nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	f, err := s.filters.Compile(text)
	if err != nil {
		return nil, err
	}
	return append(binary.NativeEndian.AppendUint32(nil, f.Flags), f.Bytes()...), nil
}

// launch starts a shim in its directory and returns a connection to it.
func (s *Shoal) launch(p place) (*shim.Conn, error) {
	lock, err := os.OpenFile(p.file(wire.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "shim")
	defer theirs.Close()
	conn, err := shim.NewConn(pair[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/fd/" + strconv.Itoa(int(s.program.Fd())))
	cmd.Args = []string{"shoal-shim", p.dir} // for those who look at ps
	// Small rather than fast: it hardly ever allocates. With one processor Go's monitor would take it from the only thread
	// in each system call, and an exec would wait twice for another thread to give it back (5 % of its time, for 50 kB).
	cmd.Env = []string{"GOMAXPROCS=2", "GOGC=10"}
	cmd.Dir = p.dir
	cmd.ExtraFiles = []*os.File{theirs, lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start shim: %w", err)
	}
	go cmd.Wait() // a shim that outlives this daemon is reaped by init instead
	return conn, nil
}

// seal copies a program into memory that nobody can write to any more.
func seal(path string) (*os.File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read shim: %w", err)
	}
	fd, err := highMemfd()
	if err != nil {
		return nil, fmt.Errorf("memfd for the shim: %w", err)
	}
	f := os.NewFile(uintptr(fd), "shoal-shim")
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy shim: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal shim: %w", err)
	}
	return f, nil
}

// highMemfd is a memory file above the numbers that a shim inherits: a child puts those in place first, and would then
// find them, and not its program, at the path that it executes.
func highMemfd() (int, error) {
	fd, err := unix.MemfdCreate("shoal-shim", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 16)
}

// Delete implements Runtime.
func (s *Shoal) Delete(ctx context.Context, id string, force bool) error {
	s.configs.forget(id)
	p := s.place(id)
	o, err := p.record()
	if errors.Is(err, ErrNotFound) {
		return os.RemoveAll(p.dir)
	}
	if err != nil {
		return err
	}
	state, err := s.State(ctx, id)
	if err != nil {
		return err
	}
	if state.Status != Stopped && !force {
		return fmt.Errorf("delete container %.12s: it is %s", id, state.Status)
	}
	g, err := s.tree.Group(o.CgroupPath)
	if err != nil {
		return err
	}
	if err := s.endShim(p, g); err != nil {
		return err
	}
	if o.Runtime != "" {
		s.deleteOther(ctx, o.CreateOptions)
	}
	remove := g.Delete
	if o.KeepParents {
		remove = g.Remove
	}
	if err := remove(ctx); err != nil {
		return fmt.Errorf("delete container %.12s: %w", id, err)
	}
	s.stoppedHooks(ctx, o)
	return os.RemoveAll(p.dir)
}

// How long a shim may take to write down the end of its container before it is killed.
const shimGrace = 2 * time.Second

// endShim kills the container's processes, and the shim if it does not end by itself.
func (s *Shoal) endShim(p place, g *cgroup.Group) error {
	sup, err := p.supervised()
	if err != nil || !sup.shim.alive() {
		return nil // cgroup's Delete kills what is left
	}
	if err := g.Kill(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if sup.init.pid == 0 || !sup.shim.await(shimGrace) {
		sup.shim.kill()
		sup.shim.await(shimGrace)
	}
	return nil
}
