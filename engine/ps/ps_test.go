//go:build linux

package ps

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func titles(c []Column) string {
	var out []string
	for _, col := range c {
		out = append(out, col.Title)
	}
	return strings.Join(out, " ")
}

func TestColumns(t *testing.T) {
	for _, tc := range []struct{ args, want, err string }{
		{"", "UID PID PPID C STIME TTY TIME CMD", ""},
		{"-ef", "UID PID PPID C STIME TTY TIME CMD", ""},
		{"aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND", ""},
		{"-eo pid,comm,%mem", "PID COMMAND %MEM", ""},
		{"-o pid -o args", "PID COMMAND", ""},
		{"-opid,user", "PID USER", ""},
		{"-o", "", "needs the names of columns"},
		{"-o pid,nope", "", `ps column "nope" is not supported`},
		{"--forest", "", `ps option "--forest" is not supported`},
	} {
		got, err := Columns(strings.Fields(tc.args))
		if titles(got) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: got %q, %v", tc.args, titles(got), err)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c) S 1 42 42 34817 42 4194304 100 0 0 0 250 150 0 0 20 -5 3 0 500 4096000 100 18446744073709551615 1 1 0\n"
	got, err := parseStat([]byte(line))
	want := &Process{
		Pid: 42, PPid: 1, PGid: 42, Sid: 42, Command: "a) b (c", State: 'S', TTY: 34817, CPU: 4 * time.Second, Nice: -5, Threads: 3,
		Start: 5 * time.Second, Virtual: 4096000, Resident: 100 * int64(os.Getpagesize()),
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range []string{"", "42 S 1", "x (a) S 1 2", "42 (a) S 1 2 3"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestCells(t *testing.T) {
	for dev, want := range map[int]string{0: "?", 136<<8 | 3: "pts/3", 137<<8 | 1: "pts/257", 4<<8 | 1: "tty1", 4<<8 | 64: "ttyS0"} {
		if got := ttyName(dev); got != want {
			t.Errorf("tty %#x: %s, want %s", dev, got, want)
		}
	}
	if got := clock(3*time.Hour + 62*time.Second); got != "03:01:02" {
		t.Error(got)
	}
	if got := elapsed(49 * time.Hour); got != "2-01:00:00" {
		t.Error(got)
	}
}

func TestReadSelf(t *testing.T) {
	p, err := Read(os.Getpid())
	if err != nil || p.Pid != os.Getpid() || p.PPid != os.Getppid() || !strings.Contains(p.Args, "test") || p.UID != uint32(os.Getuid()) {
		t.Errorf("%+v, %v", p, err)
	}
	now, err := Now()
	if err != nil || now.age(p) > time.Hour || now.Memory == 0 {
		t.Errorf("age %v, %+v, %v", now.age(p), now, err)
	}
}
