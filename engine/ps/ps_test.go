//go:build linux

package ps

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/internal/poll"
)

func titles(v *View) string {
	if v == nil {
		return ""
	}
	var out []string
	for _, col := range v.Columns {
		out = append(out, col.Title)
	}
	return strings.Join(out, " ")
}

func TestColumns(t *testing.T) {
	for _, tc := range []struct{ args, want, err string }{
		{"", "UID PID PPID C STIME TTY TIME CMD", ""},
		{"-ef", "UID PID PPID C STIME TTY TIME CMD", ""},
		{"aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND", ""},
		{"auxww", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND", ""},
		{"-aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND", ""},
		{"ax", "PID TTY STAT TIME COMMAND", ""},
		{"-e", "PID TTY TIME CMD", ""},
		{"-efl", "F S UID PID PPID C PRI NI ADDR SZ WCHAN STIME TTY TIME CMD", ""},
		{"-e -F", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD", ""},
		{"axo user:20,cmd=WHAT --sort=-pid", "USER WHAT", ""},
		{"-eo pid=,lstart,euser", " STARTED EUSER", ""},
		{"-u root", "", `ps option "-u" is not supported`},
		{"-fj", "", "several forms"},
		{"--sort nope", "", `ps column "nope" is not supported`},
		{"-o -uid", "", `ps column "-uid" is not supported`},
		{"-eo pid,comm,%mem", "PID COMMAND %MEM", ""},
		{"-o pid -o args", "PID COMMAND", ""},
		{"-opid,user", "PID USER", ""},
		{"-o", "", "needs the names of columns"},
		{"-o pid,nope", "", `ps column "nope" is not supported`},
		{"--forest", "", `ps option "--forest" is not supported`},
	} {
		got, err := Parse(strings.Fields(tc.args))
		if titles(got) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: got %q, %v", tc.args, titles(got), err)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c) S 1 42 42 34817 42 4194304 100 0 0 0 250 150 0 0 20 -5 3 0 500 4096000 100 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 7 2 0 0 0\n"
	got, err := parseStat([]byte(line))
	want := &Process{
		Pid: 42, PPid: 1, PGid: 42, Sid: 42, Command: "a) b (c", State: 'S', TTY: 34817, CPU: 4 * time.Second, Nice: -5, Threads: 3,
		Foreground: 42, Flags: 4194304, Priority: 20, Processor: 1, RealTime: 7, Policy: 2,
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
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)
	for age, want := range map[time.Duration]string{time.Hour: "04:06:07", 48 * time.Hour: "Mar 02"} {
		if got := startedLong(&Process{}, Machine{Boot: at.Add(-age), At: at}); got != want {
			t.Errorf("started %s ago: %q, want %q", age, got, want)
		}
	}
	if got := stateWord(&Process{State: 'S', Pid: 1, Sid: 1, Threads: 2, Nice: 5, PGid: 7, Foreground: 7}); got != "SNsl+" {
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

// TestLikePs: one process in many forms, compared with what ps says. The process sleeps, so that nothing of it changes.
func TestLikePs(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("SKIPPED: no ps here to compare with")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	pid := strconv.Itoa(cmd.Process.Pid)
	asleep := poll.Until(time.Minute, func() bool { // before, it is a copy of this test
		p, err := Read(cmd.Process.Pid)
		return err == nil && p.Command == "sleep" && waiting(p) != "-" && p.State == 'S'
	})
	if !asleep {
		t.Fatal("sleep does not sleep")
	}
	for _, args := range []string{"-f", "-F", "-l", "-fl", "-j", "u", "l", "j", "-o pid,stat,s,pri,opri,ni,cls,rtprio,nlwp,vsz,sz,rss,f,tpgid,cmd,ucmd,euser,egroup,tname,bsdstart,thcount"} {
		v, err := Parse(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		before := row(t, v, cmd.Process.Pid)
		want, err := exec.Command("ps", append(strings.Fields(args), "-ww", "-p", pid)...).Output()
		if err != nil {
			t.Fatalf("ps %s: %v", args, err)
		}
		got, theirs := row(t, v, cmd.Process.Pid), strings.Fields(string(want))
		for i, title := range strings.Fields(titles(v)) {
			at := len(v.Columns) + i
			switch {
			case at >= len(theirs):
			case title == "RSS": // ps reads it elsewhere, where it is counted more exactly
				got[at] = theirs[at]
			case (title == "C" || title == "%CPU") && between(got[at], theirs[at], before[at]): // a share of a time that goes on
				got[at] = theirs[at]
			}
		}
		if diff := cmp.Diff(theirs, got); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

// row is what we say of a process, with the titles.
func row(t *testing.T, v *View, pid int) []string {
	t.Helper()
	p, err := Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	var cells []string
	for _, c := range v.Columns {
		cells = append(cells, c.Value(p, m))
	}
	return strings.Fields(titles(v) + " " + strings.Join(cells, " "))
}

func between(low, x, high string) bool {
	l, lerr := strconv.ParseFloat(low, 64)
	n, nerr := strconv.ParseFloat(x, 64)
	h, herr := strconv.ParseFloat(high, 64)
	return lerr == nil && nerr == nil && herr == nil && l <= n && n <= h
}

func TestSort(t *testing.T) {
	v, err := Parse([]string{"-eo", "pid", "--sort=-rss,pid"})
	if err != nil {
		t.Fatal(err)
	}
	list := []*Process{{Pid: 10, Resident: 1 << 20}, {Pid: 9, Resident: 1 << 20}, {Pid: 3, Resident: 9 << 20}}
	v.Sort(list, Machine{})
	if list[0].Pid != 3 || list[1].Pid != 9 || list[2].Pid != 10 {
		t.Errorf("%v %v %v", list[0], list[1], list[2])
	}
}
