//go:build linux

package ps

import (
	"fmt"
	"os"
	"strconv"
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

// columns are those that `ps -o` may ask for. Those with a stroke are in the sets of ps's options alone.
var columns = map[string]Column{
	"pid":    {"PID", number(func(p *Process) int64 { return int64(p.Pid) })},
	"ppid":   {"PPID", number(func(p *Process) int64 { return int64(p.PPid) })},
	"pgid":   {"PGID", number(func(p *Process) int64 { return int64(p.PGid) })},
	"sid":    {"SID", number(func(p *Process) int64 { return int64(p.Sid) })},
	"tpgid":  {"TPGID", number(func(p *Process) int64 { return int64(p.Foreground) })},
	"uid":    {"UID", number(func(p *Process) int64 { return int64(p.UID) })},
	"gid":    {"GID", number(func(p *Process) int64 { return int64(p.GID) })},
	"user":   {"USER", word(func(p *Process) string { return userName(p.UID) })},
	"group":  {"GROUP", word(func(p *Process) string { return groupName(p.GID) })},
	"comm":   {"COMMAND", word(func(p *Process) string { return p.Command })},
	"args":   {"COMMAND", word(func(p *Process) string { return p.Args })},
	"stat":   {"STAT", word(stateWord)},
	"s":      {"S", word(func(p *Process) string { return string(p.State) })},
	"f":      {"F", word(func(p *Process) string { return fmt.Sprintf("%o", p.Flags>>6&7) })},
	"tty":    {"TT", word(func(p *Process) string { return ttyName(p.TTY) })},
	"nice":   {"NI", number(func(p *Process) int64 { return int64(p.Nice) })},
	"pri":    {"PRI", number(func(p *Process) int64 { return int64(39 - p.Priority) })},
	"opri":   {"PRI", number(func(p *Process) int64 { return int64(60 + p.Priority) })},
	"psr":    {"PSR", number(func(p *Process) int64 { return int64(p.Processor) })},
	"rtprio": {"RTPRIO", word(func(p *Process) string { return realTime(p) })},
	"cls":    {"CLS", word(func(p *Process) string { return className(p.Policy) })},
	"nlwp":   {"NLWP", number(func(p *Process) int64 { return int64(p.Threads) })},
	"vsz":    {"VSZ", number(func(p *Process) int64 { return p.Virtual / 1024 })},
	"sz":     {"SZ", number(func(p *Process) int64 { return p.Virtual / int64(os.Getpagesize()) })},
	"rss":    {"RSS", number(func(p *Process) int64 { return p.Resident / 1024 })},
	"time":   {"TIME", word(func(p *Process) string { return clock(p.CPU) })},
	"etime":  {"ELAPSED", func(p *Process, m Machine) string { return elapsed(m.age(p)) }},
	"etimes": {"ELAPSED", func(p *Process, m Machine) string { return fmt.Sprint(int(m.age(p) / time.Second)) }},
	"stime":  {"STIME", func(p *Process, m Machine) string { return started(p, m) }},
	"start":  {"STARTED", func(p *Process, m Machine) string { return startedLong(p, m) }},
	"lstart": {"STARTED", func(p *Process, m Machine) string { return m.Boot.Add(p.Start).Local().Format(time.ANSIC) }},
	"c":      {"C", func(p *Process, m Machine) string { return fmt.Sprintf("%d", min(99, int(m.load(p)))) }},
	"pcpu":   {"%CPU", func(p *Process, m Machine) string { return fmt.Sprintf("%.1f", m.load(p)) }},
	"pmem":   {"%MEM", func(p *Process, m Machine) string { return fmt.Sprintf("%.1f", m.share(p)) }},
	"wchan":  {"WCHAN", word(func(p *Process) string { return waiting(p) })},

	"-priority": {"PRI", number(func(p *Process) int64 { return int64(p.Priority) })},
	"-uid":      {"UID", word(func(p *Process) string { return userName(p.UID) })},
	"-cmd":      {"CMD", word(func(p *Process) string { return p.Args })},
	"-comm":     {"CMD", word(func(p *Process) string { return p.Command })},
	"-tty":      {"TTY", word(func(p *Process) string { return ttyName(p.TTY) })},
	"-start":    {"START", func(p *Process, m Machine) string { return started(p, m) }},
	"-time":     {"TIME", word(func(p *Process) string { return shortClock(p.CPU) })},
	"-addr":     {"ADDR", word(func(*Process) string { return "-" })}, // the kernel does not tell
	"-wchan":    {"WCHAN", word(func(p *Process) string { return shortened(waiting(p), 6) })},
}

// synonyms of columns, as ps has them; some have a title of their own.
var synonyms = map[string]struct{ name, title string }{
	"cmd": {"args", "CMD"}, "command": {"args", ""}, "ucmd": {"comm", "CMD"}, "ucomm": {"comm", ""}, "state": {"s", ""}, "tt": {"tty", ""}, "tname": {"tty", "TTY"},
	"ni": {"nice", ""}, "thcount": {"nlwp", "THCNT"}, "vsize": {"vsz", ""}, "rssize": {"rss", ""}, "rsz": {"rss", "RSZ"}, "cputime": {"time", ""}, "bsdtime": {"-time", ""},
	"start_time": {"stime", "START"}, "bsdstart": {"-start", ""}, "%cpu": {"pcpu", ""}, "%mem": {"pmem", ""}, "uname": {"user", ""}, "euser": {"user", "EUSER"},
	"euid": {"uid", "EUID"}, "egid": {"gid", "EGID"}, "egroup": {"group", "EGROUP"}, "pgrp": {"pgid", "PGRP"}, "sess": {"sid", "SESS"}, "session": {"sid", "SESS"},
	"class": {"cls", ""}, "policy": {"cls", "POL"}, "flags": {"f", ""}, "flag": {"f", ""}, "size": {"vsz", "SIZE"}, "fname": {"comm", ""},
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

// shortClock has no hours, as the columns of ps's BSD options.
func shortClock(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
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

// startedLong is the time of the last day, with seconds, or the day.
func startedLong(p *Process, m Machine) string {
	t := m.Boot.Add(p.Start).Local()
	if m.age(p) < 24*time.Hour {
		return t.Format(time.TimeOnly)
	}
	return t.Format("Jan 02")
}

// stateWord is the state with ps's letters for what else there is to know.
func stateWord(p *Process) string {
	word := string(p.State)
	for _, more := range []struct {
		is     bool
		letter string
	}{{p.Nice < 0, "<"}, {p.Nice > 0, "N"}, {p.Pid == p.Sid, "s"}, {p.Threads > 1, "l"}, {p.Foreground == p.PGid, "+"}} {
		if more.is {
			word += more.letter
		}
	}
	return word
}

// className is a scheduling policy in ps's letters.
func className(policy int) string {
	if names := []string{"TS", "FF", "RR", "B", "ISO", "IDL", "DLN"}; policy >= 0 && policy < len(names) {
		return names[policy]
	}
	return strconv.Itoa(policy)
}

func realTime(p *Process) string {
	if p.RealTime == 0 {
		return "-"
	}
	return strconv.Itoa(p.RealTime)
}

// waiting is the kernel's function that a process sleeps in.
func waiting(p *Process) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", p.Pid))
	if err != nil || len(name) == 0 || string(name) == "0" {
		return "-"
	}
	return string(name)
}

func shortened(s string, n int) string { return s[:min(n, len(s))] }

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
