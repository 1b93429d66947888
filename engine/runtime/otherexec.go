//go:build linux

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// execOther is Exec by another runtime, whose process stands for the session.
func (s *Shoal) execOther(ctx context.Context, rec CreateOptions, o ExecOptions) (Process, error) {
	if st, err := s.State(ctx, rec.ID); err != nil || st.Status != Running {
		return nil, errors.Join(err, ErrNotRunning)
	}
	file, err := s.writeProcess(rec.ID, o)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	pidFile := file + ".pid"
	p := &otherProcess{done: make(chan struct{}), pidFile: pidFile, clean: func() { os.Remove(file); os.Remove(pidFile) }}
	p.cmd = s.other(context.WithoutCancel(ctx), rec, "exec", "--process", file, "--pid-file", pidFile, rec.ID)
	if err := p.start(o); err != nil {
		p.clean()
		return nil, fmt.Errorf("exec: %w", err)
	}
	p.stream.ended = p.done
	go p.follow()
	if err := p.await(ctx); err != nil {
		p.stream.Close()
		return nil, s.otherError(s.place(rec.ID), fmt.Errorf("exec: %w", err))
	}
	return p, nil
}

// otherProcess is an exec session of another runtime.
type otherProcess struct {
	cmd     *exec.Cmd
	pidFile string // written by the runtime once the command runs
	pid     int    // of the command, once it runs
	stream  *pipeStream
	clean   func()
	done    chan struct{}
	exit    Exit // valid once done is closed
	ran     bool // and so is this: the exit code is the command's, not the runtime's
}

// start connects the streams and starts the runtime.
func (p *otherProcess) start(o ExecOptions) error {
	var theirs []*os.File
	var err error
	if o.Process.Terminal {
		theirs, err = p.terminal(o)
	} else {
		p.stream, theirs, err = newPipes(o.Stdin)
	}
	if err != nil {
		return err
	}
	defer closeAll(theirs...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[len(theirs)/2], theirs[len(theirs)-1]
	if err := p.cmd.Start(); err != nil {
		p.stream.abandon()
		return err
	}
	return nil
}

// terminal makes one for the runtime, which makes another in the container and copies between them.
func (p *otherProcess) terminal(o ExecOptions) ([]*os.File, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	master := os.NewFile(uintptr(fd), "terminal")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, err
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		master.Close()
		return nil, errno
	}
	if o.Size.Width != 0 {
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: o.Size.Width, Row: o.Size.Height})
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.stream = newTerminal(master, o.Stdin)
	return []*os.File{os.NewFile(peer, "terminal")}, nil
}

func (p *otherProcess) follow() {
	defer close(p.done)
	err := p.cmd.Wait()
	_, p.ran = p.written()
	p.clean()
	p.exit = Exit{Code: p.cmd.ProcessState.ExitCode(), At: time.Now()}
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		p.exit.Code = 128 + int(st.Signal())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.exit.Error = err.Error()
	}
}

// await returns once the command runs, which the runtime says by writing its pid.
func (p *otherProcess) await(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid, ok := p.written(); ok {
			p.pid = pid
			return nil
		}
		select {
		case <-p.done:
			if p.ran || p.exit.Code == 0 {
				return nil // faster than we could look
			}
			return fmt.Errorf("the runtime ended with exit code %d", p.exit.Code)
		case <-ctx.Done():
			p.cmd.Process.Kill()
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (p *otherProcess) written() (pid int, ok bool) {
	b, err := os.ReadFile(p.pidFile)
	if err != nil {
		return 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return pid, err == nil
}

func (p *otherProcess) Pid() int       { return p.pid }
func (p *otherProcess) Stream() Stream { return p.stream }

// Resize implements Process.
func (p *otherProcess) Resize(s Size) error {
	if err := resizeStream(p.stream, s); err != nil {
		return err
	}
	return p.cmd.Process.Signal(syscall.SIGWINCH)
}

// Signal implements Process.
func (p *otherProcess) Signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return ErrNotRunning
	default:
	}
	if err := unix.Kill(p.pid, sig); err != nil {
		return ErrNotRunning
	}
	return nil
}

// Wait implements Process.
func (p *otherProcess) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}
