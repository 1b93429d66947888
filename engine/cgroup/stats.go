//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Stats are counters since the group was made.
type Stats struct {
	CPUNanos       uint64
	ThrottledNanos uint64
	Memory         uint64 // bytes, without inactive file pages
	MemoryLimit    uint64 // bytes, 0: none
	Pids           uint64
	BlockRead      uint64 // bytes
	BlockWrite     uint64 // bytes
}

// noLimit is what version 1 shows for no limit: the largest multiple of a page.
const noLimit = 1 << 62

// Stats reads the counters. A controller that is not there leaves zeros.
func (g *Group) Stats() (Stats, error) {
	var s Stats
	read := g.statsV1
	if g.Unified() {
		read = g.statsV2
	}
	if err := read(&s); err != nil {
		return s, fmt.Errorf("read statistics: %w", err)
	}
	if s.MemoryLimit >= noLimit {
		s.MemoryLimit = 0
	}
	return s, nil
}

func (g *Group) statsV1(s *Stats) error {
	var r reader
	r.number(&s.CPUNanos, g.dir("cpuacct"), "cpuacct.usage")
	r.keyed(&s.ThrottledNanos, g.dir("cpu"), "cpu.stat", "throttled_time")
	r.number(&s.Memory, g.dir("memory"), "memory.usage_in_bytes")
	r.number(&s.MemoryLimit, g.dir("memory"), "memory.limit_in_bytes")
	var inactive uint64
	r.keyed(&inactive, g.dir("memory"), "memory.stat", "total_inactive_file")
	s.Memory -= min(inactive, s.Memory)
	r.number(&s.Pids, g.dir("pids"), "pids.current")
	if d := g.dir("blkio"); d != "" {
		s.BlockRead, s.BlockWrite = r.blkio(d)
	}
	return r.err
}

func (g *Group) statsV2(s *Stats) error {
	var r reader
	d := g.V2Dir()
	r.keyed(&s.CPUNanos, d, "cpu.stat", "usage_usec")
	r.keyed(&s.ThrottledNanos, d, "cpu.stat", "throttled_usec")
	s.CPUNanos *= 1000
	s.ThrottledNanos *= 1000
	r.number(&s.Memory, d, "memory.current")
	r.number(&s.MemoryLimit, d, "memory.max")
	var inactive uint64
	r.keyed(&inactive, d, "memory.stat", "inactive_file")
	s.Memory -= min(inactive, s.Memory)
	r.number(&s.Pids, d, "pids.current")
	s.BlockRead, s.BlockWrite = r.ioStat(d)
	return r.err
}

// reader remembers the first error that is not a missing file.
type reader struct{ err error }

func (r *reader) note(err error) {
	if r.err == nil && err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.err = err
	}
}

func (r *reader) number(to *uint64, dir, name string) {
	if dir != "" {
		v, err := number(dir, name)
		*to = v
		r.note(err)
	}
}

func (r *reader) keyed(to *uint64, dir, name, key string) {
	if dir != "" {
		v, err := keyed(dir, name, key)
		*to = v
		r.note(err)
	}
}

// blkio sums lines like "8:0 Read 4096".
func (r *reader) blkio(dir string) (in, out uint64) {
	text, err := read(dir, "blkio.throttle.io_service_bytes")
	r.note(err)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, _ := strconv.ParseUint(f[2], 10, 64)
		switch f[1] {
		case "Read":
			in += n
		case "Write":
			out += n
		}
	}
	return in, out
}

// ioStat sums lines like "8:0 rbytes=4096 wbytes=0 rios=1 ...".
func (r *reader) ioStat(dir string) (in, out uint64) {
	text, err := read(dir, "io.stat")
	r.note(err)
	for _, f := range strings.Fields(text) {
		key, value, _ := strings.Cut(f, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "rbytes":
			in += n
		case "wbytes":
			out += n
		}
	}
	return in, out
}

// OOMFile is the file whose line "oom_kill N" counts processes of the group that
// were killed for lack of memory; empty without a memory controller.
func (g *Group) OOMFile() string {
	if d := g.dir("memory"); d != "" {
		return d + "/memory.oom_control"
	}
	if g.Unified() {
		return g.V2Dir() + "/memory.events"
	}
	return ""
}
