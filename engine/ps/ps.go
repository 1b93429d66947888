//go:build linux

// Package ps reads processes from /proc and shows them in the columns of ps, without running ps.
//
// Parse reads ps's arguments, Read one process, Column.Value one cell. It knows nothing of containers.
package ps

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hertz is USER_HZ, in which /proc counts time: 100 on every architecture that Linux runs Go on.
const hertz = 100

// ErrGone says that a process ended while it was read.
var ErrGone = errors.New("the process has ended")

// Process is what the columns show of one process.
type Process struct {
	Pid, PPid, PGid, Sid, Nice, Threads int
	Foreground                          int // the process group that its terminal belongs to; -1 without one
	Flags                               uint32
	Priority, Processor                 int
	RealTime, Policy                    int // as sched(7) numbers them
	UID, GID                            uint32
	Command                             string // short name
	Args                                string
	State                               byte
	TTY                                 int
	CPU                                 time.Duration
	Start                               time.Duration // after boot
	Virtual, Resident                   int64         // bytes
}

// Machine is the moment and the host that processes are seen in relation to.
type Machine struct {
	Boot   time.Time
	At     time.Time
	Memory int64
}

// Now looks at the host.
func Now() (Machine, error) {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return Machine{}, fmt.Errorf("read the uptime: %w", err)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return Machine{}, err
	}
	first, _, _ := strings.Cut(string(uptime), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return Machine{}, fmt.Errorf("read the uptime: %w", err)
	}
	now := time.Now()
	return Machine{
		Boot: now.Add(-time.Duration(seconds * float64(time.Second))), At: now,
		Memory: int64(info.Totalram) * int64(info.Unit),
	}, nil
}

// Read looks at one process.
func Read(pid int) (*Process, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if errors.Is(err, syscall.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, ErrGone
	}
	p.UID, p.GID = st.Uid, st.Gid
	if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil {
		p.Args = string(bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte{' '}))
	}
	if p.Args == "" {
		p.Args = "[" + p.Command + "]"
	}
	return p, nil
}

// parseStat reads /proc/PID/stat: the name stands in brackets and may hold any of the signs around it.
func parseStat(b []byte) (*Process, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return nil, fmt.Errorf("stat %q has no name", b)
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 39 { // up to the policy
		return nil, fmt.Errorf("stat has %d fields", len(f))
	}
	var failed error
	n := func(field int) int64 { // numbered as in proc(5)
		v, err := strconv.ParseInt(f[field-3], 10, 64)
		if err != nil && failed == nil {
			failed = err
		}
		return v
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	if err != nil {
		return nil, err
	}
	ticks := func(v int64) time.Duration { return time.Duration(v) * time.Second / hertz }
	p := &Process{
		Pid: pid, Command: string(b[open+1 : end]), State: f[0][0],
		PPid: int(n(4)), PGid: int(n(5)), Sid: int(n(6)), TTY: int(n(7)), CPU: ticks(n(14) + n(15)),
		Foreground: int(n(8)), Flags: uint32(n(9)), Priority: int(n(18)), Processor: int(n(39)), RealTime: int(n(40)), Policy: int(n(41)),
		Nice: int(n(19)), Threads: int(n(20)), Start: ticks(n(22)), Virtual: n(23), Resident: n(24) * int64(os.Getpagesize()),
	}
	return p, failed
}

func userName(uid uint32) string {
	id := strconv.Itoa(int(uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.Itoa(int(gid))
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
