//go:build linux

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// makeOther has the other runtime make the container, as a child of the shim.
func (s *Shoal) makeOther(ctx context.Context, p place, in input) (pid int, err error) {
	args := append([]string{in.options.Runtime}, s.otherArgs(p.id)...)
	args = append(args, "create", "--bundle", in.options.Bundle, "--pid-file", p.file("pid"))
	var terminal *console // nil without one
	if in.spec.Process != nil && in.spec.Process.Terminal {
		if terminal, err = p.listenConsole(); err != nil {
			return 0, err
		}
		defer terminal.Close()
		args = append(args, "--console-socket", terminal.path)
	}
	blob, err := compileOther(in, append(args, p.id), p.file("pid"))
	if err != nil {
		return 0, err
	}
	conn, err := s.launch(p)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r, err := conn.Call(ctx, wire.OpCreate, 0, blob)
	if err != nil {
		return 0, s.otherError(p, err)
	}
	if pid, _, err = created(r); err != nil || terminal == nil {
		return pid, err
	}
	return pid, handOver(ctx, terminal.UnixListener, conn)
}

// withoutConf takes files of control groups out of a bundle whose runtime would refuse them: with version 1 the specification
// has no field for them. They are written by now, and what the runtime writes itself are others.
func (s *Shoal) withoutConf(o CreateOptions, sp *specs.Spec) error {
	if sp.Linux == nil || sp.Linux.Resources == nil {
		return nil
	}
	if c := s.tree.Beside(sp.Linux.Resources); c != "" {
		return fmt.Errorf("runtime %s: it does not know this host's %s controller, which is in a tree of version 1 beside version 2", filepath.Base(o.Runtime), c)
	}
	if s.tree.Unified() || len(sp.Linux.Resources.Unified) == 0 {
		return nil
	}
	sp.Linux.Resources.Unified = nil
	data, err := json.Marshal(sp)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Bundle, "config.json"), data, 0o600)
}

// compileOther is the program of a child that becomes the other runtime.
func compileOther(in input, args []string, pidFile string) ([]byte, error) {
	b := &builder{program: newProgram(), in: in}
	b.header()
	b.hdr.Flags |= wire.FlagAdopt
	b.hdr.Flags &^= wire.FlagNoPID
	b.hdr.UIDMap, b.hdr.GIDMap = wire.Span{}, wire.Span{}
	b.hdr.PidFile = b.span(pidFile)
	b.do("die with the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	b.do("enter the bundle", unix.SYS_CHDIR, in.options.Bundle)
	b.streams(false)
	b.do("drop all other descriptors", unix.SYS_CLOSE_RANGE, 3, uint64(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	b.do("", wire.DoSignals)
	b.do("execute "+args[0], wire.DoExec, args[0], b.strings(args), b.strings([]string{"PATH=" + defaultPath}))
	b.do("execute "+args[0], wire.DoExecFail)
	return b.encode()
}

// handOver receives the terminal from the runtime, which has connected by now, and gives it to the shim.
func handOver(ctx context.Context, l *net.UnixListener, conn *shim.Conn) error {
	c, err := l.AcceptUnix()
	if err != nil {
		return fmt.Errorf("receive the terminal: %w", err)
	}
	defer c.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return fmt.Errorf("receive the terminal: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return errors.New("the runtime sent no terminal")
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return errors.New("the runtime sent no terminal")
	}
	defer unix.Close(fds[0])
	_, err = conn.Call(ctx, wire.OpConsole, 0, nil, fds[0])
	return err
}

// console is where another runtime sends the terminal that it has made.
type console struct {
	*net.UnixListener
	dir  *os.File
	path string // by dir's descriptor: the directory's own may be longer than a socket's address can be
}

func (p place) listenConsole() (*console, error) {
	dir, err := os.OpenFile(p.dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/proc/%d/fd/%d/console", os.Getpid(), dir.Fd())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &console{l, dir, path}, nil
}

func (c *console) Close() error { return errors.Join(c.UnixListener.Close(), c.dir.Close()) }
