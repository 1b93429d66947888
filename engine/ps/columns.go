//go:build linux

package ps

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Column is one column of ps.
type Column struct {
	Title string
	Value func(*Process, Machine) string
}

func number(of func(*Process) int64) func(*Process, Machine) string {
	return func(p *Process, _ Machine) string { return fmt.Sprint(of(p)) }
}

func word(of func(*Process) string) func(*Process, Machine) string {
	return func(p *Process, _ Machine) string { return of(p) }
}

// columns are those that `ps -o` may ask for, under each of their names.
var columns = map[string]Column{
	"pid":    {"PID", number(func(p *Process) int64 { return int64(p.Pid) })},
	"ppid":   {"PPID", number(func(p *Process) int64 { return int64(p.PPid) })},
	"pgid":   {"PGID", number(func(p *Process) int64 { return int64(p.PGid) })},
	"sid":    {"SID", number(func(p *Process) int64 { return int64(p.Sid) })},
	"uid":    {"UID", number(func(p *Process) int64 { return int64(p.UID) })},
	"gid":    {"GID", number(func(p *Process) int64 { return int64(p.GID) })},
	"user":   {"USER", word(func(p *Process) string { return userName(p.UID) })},
	"group":  {"GROUP", word(func(p *Process) string { return groupName(p.GID) })},
	"comm":   {"COMMAND", word(func(p *Process) string { return p.Command })},
	"args":   {"COMMAND", word(func(p *Process) string { return p.Args })},
	"stat":   {"STAT", word(func(p *Process) string { return string(p.State) })},
	"tty":    {"TT", word(func(p *Process) string { return ttyName(p.TTY) })},
	"nice":   {"NI", number(func(p *Process) int64 { return int64(p.Nice) })},
	"nlwp":   {"NLWP", number(func(p *Process) int64 { return int64(p.Threads) })},
	"vsz":    {"VSZ", number(func(p *Process) int64 { return p.Virtual / 1024 })},
	"rss":    {"RSS", number(func(p *Process) int64 { return p.Resident / 1024 })},
	"time":   {"TIME", word(func(p *Process) string { return clock(p.CPU) })},
	"etime":  {"ELAPSED", func(p *Process, m Machine) string { return elapsed(m.age(p)) }},
	"stime":  {"STIME", func(p *Process, m Machine) string { return started(p, m) }},
	"c":      {"C", func(p *Process, m Machine) string { return fmt.Sprintf("%d", min(99, int(m.load(p)))) }},
	"pcpu":   {"%CPU", func(p *Process, m Machine) string { return fmt.Sprintf("%.1f", m.load(p)) }},
	"pmem":   {"%MEM", func(p *Process, m Machine) string { return fmt.Sprintf("%.1f", m.share(p)) }},
	"ef-uid": {"UID", word(func(p *Process) string { return userName(p.UID) })},
	"ef-cmd": {"CMD", word(func(p *Process) string { return p.Args })},
	"ef-tty": {"TTY", word(func(p *Process) string { return ttyName(p.TTY) })},
	"start":  {"START", func(p *Process, m Machine) string { return started(p, m) }},
}

// synonyms of columns, as ps has them.
var synonyms = map[string]string{
	"cmd": "args", "command": "args", "ucmd": "comm", "ucomm": "comm", "s": "stat", "state": "stat", "tt": "tty", "tname": "tty",
	"ni": "nice", "thcount": "nlwp", "vsize": "vsz", "rssize": "rss", "rsz": "rss", "cputime": "time", "start_time": "stime",
	"%cpu": "pcpu", "%mem": "pmem", "euser": "user", "uname": "user", "euid": "uid", "egid": "gid", "egroup": "group", "pgrp": "pgid", "sess": "sid",
}

// sets are the columns of ps's usual options.
var sets = map[string][]string{
	"-ef": {"ef-uid", "pid", "ppid", "c", "stime", "ef-tty", "time", "ef-cmd"},
	"aux": {"user", "pid", "pcpu", "pmem", "vsz", "rss", "ef-tty", "stat", "start", "time", "args"},
}

// Columns reads the arguments of ps: -ef (the default), aux, or -o with names of columns.
func Columns(args []string) ([]Column, error) {
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	var names []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-ef" || a == "-fe" || a == "ef" || a == "-f" || a == "f":
			names = append(names, sets["-ef"]...)
		case a == "aux" || a == "-aux":
			names = append(names, sets["aux"]...)
		case a == "-e" || a == "-A" || a == "ax" || a == "-a":
		case slices.Contains([]string{"-o", "o", "-eo", "axo", "-axo", "-ao", "--format"}, a):
			if i++; i == len(args) {
				return nil, fmt.Errorf("ps option %s needs the names of columns", a)
			}
			names = append(names, strings.Split(args[i], ",")...)
		case strings.HasPrefix(a, "-o"):
			names = append(names, strings.Split(a[2:], ",")...)
		default:
			return nil, fmt.Errorf("ps option %q is not supported: use -ef, aux or -o followed by names of columns", a)
		}
	}
	if len(names) == 0 {
		names = sets["-ef"]
	}
	return named(names)
}

func named(names []string) ([]Column, error) {
	var out []Column
	for _, n := range names {
		key := strings.ToLower(n)
		if s, ok := synonyms[key]; ok {
			key = s
		}
		c, ok := columns[key]
		if !ok {
			return nil, fmt.Errorf("ps column %q is not supported: use one of pid, ppid, user, uid, group, comm, args, stat, tty, time, etime, stime, pcpu, pmem, vsz, rss, nice, nlwp", n)
		}
		out = append(out, c)
	}
	return out, nil
}

func (m Machine) age(p *Process) time.Duration { return max(0, m.At.Sub(m.Boot.Add(p.Start))) }

// load is the share of one CPU that a process had over its life, in percent.
func (m Machine) load(p *Process) float64 {
	if age := m.age(p); age > 0 {
		return 100 * float64(p.CPU) / float64(age)
	}
	return 0
}

func (m Machine) share(p *Process) float64 {
	if m.Memory == 0 {
		return 0
	}
	return 100 * float64(p.Resident) / float64(m.Memory)
}

func clock(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

func elapsed(d time.Duration) string {
	s := int(d / time.Second)
	switch {
	case s >= 86400:
		return fmt.Sprintf("%d-%02d:%02d:%02d", s/86400, s/3600%24, s/60%60, s%60)
	case s >= 3600:
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// started is the time of today, the day of this year, or the year.
func started(p *Process, m Machine) string {
	t, now := m.Boot.Add(p.Start).Local(), m.At.Local()
	switch {
	case t.Year() != now.Year():
		return t.Format("2006")
	case t.YearDay() != now.YearDay():
		return t.Format("Jan02")
	}
	return t.Format("15:04")
}

// ttyName turns a device number into pts/3, tty1 or ?.
func ttyName(dev int) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", minor+(major-136)*256)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	}
	return fmt.Sprintf("%d,%d", major, minor)
}
