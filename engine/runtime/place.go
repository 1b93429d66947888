//go:build linux

package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// recordFile holds a container's record as JSON. It is there before anything
// else is, so that whatever a crash leaves can be found and removed.
const recordFile = "create.json"

// place is a container's directory: the record, what the shim writes (see package wire) and its socket.
type place struct{ dir, id string }

func (p place) file(name string) string { return filepath.Join(p.dir, name) }

// record is what is remembered of a container: changes to its bundle after Create change nothing.
type record struct {
	CreateOptions
	Hooks       *specs.Hooks      `json:",omitempty"`
	Annotations map[string]string `json:",omitempty"`
	Layout      int               `json:",omitempty"` // wire.Layout of the shim; 0: ask it
}

func (p place) record() (record, error) {
	var o record
	b, err := os.ReadFile(p.file(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return o, ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		return o, fmt.Errorf("read record of container %.12s: %w", p.id, err)
	}
	return o, nil
}

// reserve makes the directory with the record in it, all at once.
func (p place) reserve(o record) error {
	if _, err := os.Lstat(p.dir); err == nil {
		return ErrExists
	}
	tmp, err := os.MkdirTemp(filepath.Dir(p.dir), tempPrefix)
	if err != nil {
		return err
	}
	b, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, recordFile), b, 0o600)
	}
	if err == nil {
		err = os.Rename(tmp, p.dir)
	}
	if err != nil {
		os.RemoveAll(tmp)
	}
	return err
}

// tempPrefix starts the names of directories that are not reserved yet.
const tempPrefix = ".new-"

// process is a pid with the start time that makes it unique.
type process struct {
	pid   int
	start uint64
}

// supervised is the shim's state file.
type supervised struct {
	shim, init process
	started    time.Time // zero: not yet
}

func (p place) supervised() (s supervised, err error) {
	b, err := os.ReadFile(p.file(wire.StateFile))
	if err != nil {
		return s, err
	}
	var started int64
	n, _ := fmt.Sscan(string(b), &s.shim.pid, &s.shim.start, &s.init.pid, &s.init.start, &started)
	if n != 5 {
		return s, fmt.Errorf("state file of container %.12s is malformed: %q", p.id, b)
	}
	if started != 0 {
		s.started = time.Unix(0, started)
	}
	return s, nil
}

// exit reads the exit file; nil if the container has not ended, or nobody saw how.
func (p place) exit() (*Exit, error) {
	b, err := os.ReadFile(p.file(wire.ExitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	line, reason, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) != 3 {
		return nil, fmt.Errorf("exit file of container %.12s is malformed: %q", p.id, b)
	}
	code, err1 := strconv.Atoi(f[0])
	at, err2 := strconv.ParseInt(f[2], 10, 64)
	return &Exit{Code: code, OOMKilled: f[1] == "1", At: time.Unix(0, at), Error: reason}, errors.Join(err1, err2)
}

// alive says whether it is this process that has the pid now.
func (p process) alive() bool {
	if p.pid <= 0 {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/stat")
	if err != nil {
		return false
	}
	// The command's name, in parentheses, may hold anything. Field 3 follows it.
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return false
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	return err == nil && start == p.start
}

// await waits until the process has ended, at most d.
func (p process) await(d time.Duration) bool {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(d)
	for p.alive() {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	}
	return true
}

// kill sends SIGKILL to this process and no other that has got its pid.
func (p process) kill() {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if p.alive() {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
