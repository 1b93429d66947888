//go:build linux

package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// hookOutput is how much of what a failed hook says is shown.
const hookOutput = 1 << 10

// runHere runs hooks in the daemon's own namespaces.
func (r record) runHere(ctx context.Context, list []specs.Hook, status specs.ContainerState, pid int) error {
	for _, h := range list {
		if err := runHook(ctx, h, r.Bundle, r.state(status, pid)); err != nil {
			return fmt.Errorf("hook %s: %w", h.Path, err)
		}
	}
	return nil
}

func runHook(ctx context.Context, h specs.Hook, dir string, state []byte) error {
	ctx, cancel := bounded(ctx, h)
	defer cancel()
	var out tail
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args, cmd.Env, cmd.Dir = argv(h), append([]string{}, h.Env...), dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(state), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it has started, too
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended well; a child of its keeps the streams
	}
	return explainHook(ctx, err, out.String())
}

// argv is a hook's arguments; none means its path alone.
func argv(h specs.Hook) []string {
	if len(h.Args) == 0 {
		return []string{h.Path}
	}
	return h.Args
}

// explainHook makes one line of how a hook failed.
func explainHook(ctx context.Context, err error, output string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said := strings.Join(strings.Fields(output), " "); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// runInside has the shim run a hook's program in a container's namespaces.
func (s *Shoal) runInside(ctx context.Context, rec record, h specs.Hook, status specs.ContainerState, pid int, blob []byte) error {
	ctx, cancel := bounded(ctx, h)
	defer cancel()
	conn, err := s.connect(rec.ID)
	if err != nil {
		return err
	}
	p, err := start(ctx, conn, blob, wire.ExecHook, ExecOptions{Process: &specs.Process{}, Stdin: true})
	if err != nil {
		conn.Close()
		return explainHook(ctx, err, "")
	}
	go p.follow()
	var out tail
	read := make(chan error, 1)
	go func() { read <- p.stream.Output(&out, &out) }()
	go func() {
		p.stream.Stdin().Write(rec.state(status, innerPid(pid)))
		p.stream.Stdin().Close()
	}()
	exit, err := p.Wait(ctx)
	if err != nil {
		p.Signal(syscall.SIGKILL)
		<-p.done
	}
	if rerr := <-read; err == nil {
		err = rerr
	}
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("exit status %d", exit.Code)
	}
	p.stream.abandon()
	return explainHook(ctx, err, out.String())
}

// compileHook is a createContainer hook: a program of the host, privileged, with the container's mounts in place and its
// root file system as the working directory.
func compileHook(in input, h specs.Hook) ([]byte, error) {
	b, err := newInside(in)
	if err != nil {
		return nil, err
	}
	b.enterContainer(nil)
	b.do("", unix.SYS_SETSID).ignore()
	b.streams(false)
	b.do("enter "+in.root, unix.SYS_CHDIR, in.root)
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	b.command = h.Path
	b.exec(&specs.Process{Args: argv(h), Env: h.Env})
	return b.encode()
}

// compileStartHook is a startContainer hook: a program of the container, with no other rights than its command will have.
func compileStartHook(in input, h specs.Hook) ([]byte, error) {
	b, err := newInside(in)
	if err != nil {
		return nil, err
	}
	p := *in.spec.Process
	p.Args, p.Env, p.Terminal = argv(h), h.Env, false
	b.openProc(&p)
	b.enterContainer(p.OOMScoreAdj)
	b.command = h.Path
	b.process(&p, in.filter, false)
	return b.encode()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - hookOutput; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
