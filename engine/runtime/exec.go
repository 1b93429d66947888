//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Exec implements Runtime.
func (s *Shoal) Exec(ctx context.Context, id string, o ExecOptions) (Process, error) {
	k, err := s.config(id)
	if errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	if k.rec.Runtime != "" {
		return s.execOther(ctx, k.rec.CreateOptions, o)
	}
	layout, err := s.layout(ctx, k.rec)
	if err != nil {
		return nil, wrap("exec", err)
	}
	conn, err := s.connect(id) // it wakes up while its program is written
	if err != nil {
		return nil, err
	}
	in := s.atFirst(k)
	if o.Privileged {
		in.filter = nil
	}
	blob, err := compileExec(in, o, layout)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("exec: %w", err)
	}
	kind := uint16(0)
	if o.Tied {
		kind = wire.ExecTied
	}
	p, err := start(ctx, conn, blob, kind, o)
	if err != nil {
		conn.Close()
		return nil, wrap("exec", err)
	}
	go p.follow()
	return p, nil
}

// atFirst is what one more process is compiled from, now that the first is where it is.
func (s *Shoal) atFirst(k config) input {
	in := k.in
	if in.groups.unified {
		in.groups.v2 = s.groupOfFirst(k.rec.ID, in.groups.v2)
	}
	return in
}

// groupOfFirst is where one more process is born on version 2: beside the container's first, which may have moved further
// down. Where a group gives controllers to those below it, nothing can be in itself.
func (s *Shoal) groupOfFirst(id, top string) string {
	sup, err := s.place(id).supervised()
	if err != nil {
		return top
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", sup.init.pid))
	if err != nil {
		return top
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if dir := s.tree.V2Path(path); ok && strings.HasPrefix(dir, top+"/") {
			return dir
		}
	}
	return top
}

// compileExec turns one more process into a program, for a shim that knows this layout of headers.
func compileExec(in input, o ExecOptions, layout int) ([]byte, error) {
	b, err := newInside(in)
	if err != nil {
		return nil, err
	}
	b.openProc(o.Process)
	if o.Process.Terminal {
		b.hdr.Flags |= wire.FlagTTY
		b.hdr.Width, b.hdr.Height = o.Size.Width, o.Size.Height
	}
	b.late = b.isWatched(o.Watched)
	b.enterContainer(o.Process.OOMScoreAdj)
	if b.late {
		b.newcomer(o.Process)
	}
	if o.Process.Terminal {
		b.terminal(o.Process.User, false)
	}
	b.process(o.Process, in.filter, false)
	return b.encodeFor(layout)
}

// newInside begins the program of a process that comes to a container's first.
func newInside(in input) (*builder, error) {
	ns, err := sortNamespaces(in.spec.Linux.Namespaces)
	in.options.Init = false
	return &builder{program: newProgram(), in: in, ns: ns, userns: ns.all&unix.CLONE_NEWUSER != 0}, err
}

// enterContainer brings a child of the shim to where the container's first process is. Its thread of the shim enters
// the namespaces that a child is born into; user, time and mount namespaces can
// only be entered by the single-threaded child itself. So is the cgroup namespace:
// from within it nobody may bring a process in (mount option nsdelegate of version 2).
func (b *builder) enterContainer(oom *int) {
	ns := b.ns
	b.enterCgroups(b.in.groups)
	for _, flag := range []int{unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWPID} {
		if ns.all&flag != 0 && !(b.late && flag == unix.CLONE_NEWPID) {
			b.join("", flag)
		}
	}
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	b.oomScore(oom)
	// All at once: the right to look at the first process, which has not executed anything yet when a hook comes, is gone
	// with the first step into its user namespace.
	own := ns.all & (unix.CLONE_NEWCGROUP | unix.CLONE_NEWUSER | unix.CLONE_NEWTIME | unix.CLONE_NEWNS)
	if b.late {
		own |= unix.CLONE_NEWPID
	}
	if own != 0 {
		b.do("enter the container's namespaces", unix.SYS_SETNS, reg(wire.RegPidfd), own)
	}
	b.do("", unix.SYS_CLOSE, reg(wire.RegPidfd))
	if b.userns {
		b.becomeRoot()
	}
}

// start sends the program to the shim and waits until the command has been executed.
func start(ctx context.Context, conn *shim.Conn, blob []byte, kind uint16, o ExecOptions) (*execProcess, error) {
	p := &execProcess{conn: conn, done: make(chan struct{})}
	var fds []int
	if !o.Process.Terminal {
		stream, theirs, err := newPipes(o.Stdin)
		if err != nil {
			return nil, err
		}
		defer closeAll(theirs...)
		p.stream = stream
		for _, f := range theirs {
			fds = append(fds, int(f.Fd()))
		}
	}
	r, err := conn.Call(ctx, wire.OpRunExec, kind, blob, fds...)
	if err == nil && (r.Op != wire.OpCreated || len(r.Payload) < 4) {
		err = fmt.Errorf("the shim answers exec with %d", r.Op)
	}
	if err != nil {
		if p.stream != nil {
			p.stream.abandon()
		}
		return nil, understand(err)
	}
	p.pid = int(binary.NativeEndian.Uint32(r.Payload))
	if o.Process.Terminal {
		if r.File == nil {
			return nil, errors.New("the shim sent no terminal")
		}
		p.stream = newTerminal(r.File, o.Stdin)
	}
	p.stream.ended = p.done
	if p.pidfd, err = unix.PidfdOpen(p.pid, 0); err != nil && !errors.Is(err, unix.ESRCH) { // which means that it has ended
		p.stream.abandon()
		return nil, fmt.Errorf("exec: follow process %d: %w", p.pid, err)
	}
	return p, nil
}

// execProcess is an exec session. Its streams are held here, its process by the shim. Signals do not go through the shim: one from
// before 2026-11-26 takes a signal that comes just after the process's end for one to the container's first process.
type execProcess struct {
	conn    *shim.Conn
	pid     int
	stream  *pipeStream
	signals sync.Mutex
	pidfd   int // -1: the process has ended
	done    chan struct{}
	exit    Exit // valid once done is closed
	err     error
}

// follow reads what the shim says of the process, until its end.
func (p *execProcess) follow() {
	defer close(p.done)
	defer p.conn.Close()
	defer p.forget()
	r, err := p.conn.Receive()
	if err != nil || r.Op != wire.OpExit {
		p.err = fmt.Errorf("exec: the container's supervisor is gone: %w", ErrNotRunning)
		return
	}
	p.exit, p.err = exitOf(r)
}

func (p *execProcess) forget() {
	p.signals.Lock()
	defer p.signals.Unlock()
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
	}
	p.pidfd = -1
}

func (p *execProcess) Pid() int       { return p.pid }
func (p *execProcess) Stream() Stream { return p.stream }

// Resize implements Process.
func (p *execProcess) Resize(s Size) error { return resizeStream(p.stream, s) }

func resizeStream(p *pipeStream, s Size) error {
	if p.terminal == nil {
		return errors.New("resize: the session has no terminal")
	}
	raw, err := p.terminal.SyscallConn() // and not Fd, which would make reads block for ever
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: s.Width, Row: s.Height})
	})
	return errors.Join(cerr, err)
}

// Signal implements Process.
func (p *execProcess) Signal(sig syscall.Signal) error {
	p.signals.Lock()
	defer p.signals.Unlock()
	if p.pidfd < 0 {
		return ErrNotRunning
	}
	err := unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrNotRunning
	}
	return err
}

// Wait implements Process.
func (p *execProcess) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		return p.exit, p.err
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}
