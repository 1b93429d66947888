//go:build linux

package runtime

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Containers of another OCI runtime: it makes and starts them, runs execs and cleans up after itself. The shim holds streams,
// log and exit code as ever, and cgroups are told the same path, so that everything else is as for our own.

// otherDir is what another runtime keeps of a container, below the container's directory.
const otherDir = "oci"

const otherLog = "oci.log"

// otherArgs are the options that every command begins with.
func (s *Shoal) otherArgs(id string) []string {
	p := s.place(id)
	return []string{"--root", p.file(otherDir), "--log", p.file(otherLog), "--log-format", "text"}
}

func (s *Shoal) other(ctx context.Context, o CreateOptions, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, o.Runtime, append(s.otherArgs(o.ID), args...)...)
	cmd.Env = []string{"PATH=" + DefaultPath}
	cmd.Dir = o.Bundle
	return cmd
}

// makeOther has the other runtime make the container, as a child of the shim.
func (s *Shoal) makeOther(ctx context.Context, p place, in input) (pid int, err error) {
	args := append([]string{in.options.Runtime}, s.otherArgs(p.id)...)
	args = append(args, "create", "--bundle", in.options.Bundle, "--pid-file", p.file("pid"))
	terminal := in.spec.Process != nil && in.spec.Process.Terminal
	var console *net.UnixListener
	if terminal {
		dir, err := os.OpenFile(p.dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return 0, err
		}
		defer dir.Close()
		// By descriptor: the path itself may be longer than a socket's address can be.
		path := fmt.Sprintf("/proc/%d/fd/%d/console", os.Getpid(), dir.Fd())
		if console, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
			return 0, err
		}
		defer console.Close()
		args = append(args, "--console-socket", path)
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
	switch {
	case err != nil:
		return 0, s.otherError(p, err)
	case r.Op != wire.OpCreated || len(r.Payload) < 4:
		return 0, fmt.Errorf("the shim answers create with %d", r.Op)
	}
	if terminal {
		if err := handOver(ctx, console, conn); err != nil {
			return 0, err
		}
	}
	return int(binary.NativeEndian.Uint32(r.Payload)), nil
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
	b.do("execute "+args[0], wire.DoExec, args[0], b.strings(args), b.strings([]string{"PATH=" + DefaultPath}))
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

// startOther has the other runtime let the command run.
func (s *Shoal) startOther(ctx context.Context, o CreateOptions) error {
	out, err := s.other(ctx, o, "start", o.ID).CombinedOutput()
	if err == nil {
		return nil
	}
	return s.otherError(s.place(o.ID), fmt.Errorf("%w: %s", err, bytes.TrimSpace(out)))
}

// otherError gives the runtime's own last words, and what kind of failure they mean.
func (s *Shoal) otherError(p place, err error) error {
	log, _ := os.ReadFile(p.file(otherLog))
	text := lastError(string(log))
	if text == "" {
		return err
	}
	r := &Refused{Text: text, Kind: errOther}
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory") && strings.Contains(text, "exec"):
		r.Kind = ErrNoCommand
	case strings.Contains(text, "permission denied") && strings.Contains(text, "exec"):
		r.Kind = ErrNotRunnable
	}
	return r
}

var errOther = errors.New("the other runtime failed")

// lastError finds the message of a line like: time="..." level=error msg="..." or, from crun, time: message.
func lastError(log string) string {
	last := ""
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "level=warning") || line == "" {
			continue
		}
		last = line
		if i := strings.Index(line, `msg="`); i >= 0 {
			last = strings.ReplaceAll(strings.TrimSuffix(line[i+5:], `"`), `\"`, `"`)
		} else if _, text, ok := strings.Cut(line, "Z: "); ok {
			last = text
		}
	}
	return last
}

// deleteOther lets the runtime clean up; what it cannot, Delete does.
func (s *Shoal) deleteOther(ctx context.Context, o CreateOptions) {
	if out, err := s.other(ctx, o, "delete", "--force", o.ID).CombinedOutput(); err != nil {
		s.log.Debug("runtime did not delete", "container", o.ID, "error", err, "output", string(bytes.TrimSpace(out)))
	}
}

// writeProcess puts the process of an exec where the other runtime reads it.
func (s *Shoal) writeProcess(id string, o ExecOptions) (path string, err error) {
	b, err := json.Marshal(o.Process)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(s.place(id).dir, execPrefix+"*.json")
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	return f.Name(), errors.Join(err, f.Close())
}

// execPrefix begins the names of files that are there as long as an exec by another runtime.
const execPrefix = "exec-"

// removeExecs removes those of execs that have lost their daemon.
func (p place) removeExecs() {
	left, _ := filepath.Glob(p.file(execPrefix + "*")) // the pattern is good
	for _, path := range left {
		os.Remove(path)
	}
}

// LookOther finds another runtime by its name in the daemon's PATH.
func LookOther(name string) (string, error) {
	if name != filepath.Base(name) || strings.HasPrefix(name, "-") || name == "." {
		return "", fmt.Errorf("runtime %q is not the name of a program", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("runtime %q is not installed on this host: put it into the daemon's PATH, or leave --runtime out", name)
	}
	return filepath.Abs(path)
}
