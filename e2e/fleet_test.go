//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// fleet is containers of one host in every state that a daemon can find them in.
type fleet struct {
	t       *testing.T
	h       *hosts.Host
	outside *hosts.Host
	prefix  []string            // one for each generation
	kinds   map[string][]string // prefix to the containers that run
	procs   map[string][]string // name to "PID@START" of its processes
	runs    map[string]int      // how often a container has been started
}

// counting prints numbers: no line may be lost, nor come twice.
const counting = `i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done`

// sleeper is a command that heeds its stop signal.
const sleeper = `trap "exit 3" TERM; while :; do sleep 0.1; done`

// newFleet has old containers, and those that are to end, or to go on ending, without a daemon. all: also what the first daemons could not make.
func newFleet(t *testing.T, l *hosts.Lab, all bool) *fleet {
	t.Helper()
	f := &fleet{t: t, h: l.Hosts[0], outside: l.Client, procs: map[string][]string{}, runs: map[string]int{}, kinds: map[string][]string{}}
	f.do("network", "create", "app")
	f.do("volume", "create", "data")
	f.do("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory") // what is in it lasts as long as it is mounted
	f.begin("old-", all)
	await := func(then string) []string {
		return []string{"-v", "data:/data", "box:1", "sh", "-c", "[ -e /data/end ] && exec sleep 100000; while ! [ -e /data/end ]; do sleep 0.05; done; " + then}
	}
	f.do(append([]string{"run", "-d", "--name", "ends"}, await("exit 23")...)...)
	f.do(append([]string{"run", "-d", "--name", "again", "--restart", "on-failure"}, await("exit 24")...)...)
	f.do(append([]string{"run", "-d", "--name", "goes", "--rm"}, await("exit 25")...)...)
	f.do("run", "-d", "--name", "loops", "--restart", "always", "--network", "none", "box:1", "sh", "-c", "exit 26")
	f.do("run", "-d", "--name", "rests", "--restart", "unless-stopped", "--network", "none", "box:1", "sh", "-c", strings.Replace(sleeper, ";", "; echo heeds;", 1))
	eventually(t, "the container heeds its stop signal", 10*time.Second, func() error {
		if out := f.do("logs", "rests"); !strings.Contains(out, "heeds") {
			return fmt.Errorf("its log is %q", out)
		}
		return nil
	})
	f.do("stop", "rests")
	return f
}

// begin makes one container of each kind.
func (f *fleet) begin(prefix string, all bool) {
	f.t.Helper()
	f.prefix = append(f.prefix, prefix)
	start := func(name string, args ...string) {
		f.kinds[prefix] = append(f.kinds[prefix], prefix+name)
		f.do(append([]string{"run", "-d", "--name", prefix + name}, args...)...)
	}
	start("counts", "--restart", "always", "--network", "app", "box:1", "sh", "-c", counting)
	start("paused", "box:1", "sh", "-c", sleeper)
	f.do("pause", prefix+"paused")
	start("published", "-p", f.port(prefix)+":80", "web:1")
	start("stores", "-v", "data:/data", "-v", "/anonymous", "-v", "memory:/memory", "--tmpfs", "/tmp", "--read-only", "box:1",
		"sh", "-c", "date >/data/"+prefix+"date; echo kept >/memory/"+prefix+"kept; "+sleeper)
	start("healthy", "-v", prefix+"own:/own", "-p", f.port(prefix)+"1:90", "--health-cmd", "echo x >>/checks", "--health-interval", "300ms", "box:1", "sh", "-c", sleeper)
	start("execs", "--init", "--network", "app", "--memory", "64m", "--user", "bob", "box:1", "sh", "-c", sleeper)
	start("talks", "-i", "--network", "none", "box:1", "sh", "-c", "while read x; do echo got $x; done")
	start("terminal", "-t", "--pid", "host", "--cap-drop", "ALL", "box:1", "sh", "-c", "tty; "+sleeper)
	if all {
		start("mapped", "--userns", "auto", "--network", "app", "--tmpfs", "/tmp", "box:1", "sh", "-c", sleeper)
		start("runc", "--runtime", "runc", "box:1", "sh", "-c", sleeper)
	}
	f.do("create", "--name", prefix+"created", "-v", "data:/data", "box:1", "true")
	f.code(7, "run", "--name", prefix+"exited", "box:1", "sh", "-c", "echo last words; exit 7")
	f.remember(prefix)
}

// remember notes who runs; a session of exec is among them.
func (f *fleet) remember(prefix string) {
	f.t.Helper()
	f.do("exec", "-d", prefix+"execs", "sleep", "100000")
	for _, name := range f.running(prefix) {
		f.begun(name)
		f.procs[name] = f.processes(name)
	}
}

// port publishes a generation's web server.
func (f *fleet) port(prefix string) string {
	return map[string]string{"old-": "81", "new-": "82"}[prefix]
}

func (f *fleet) running(prefix string) []string { return f.kinds[prefix] }

func (f *fleet) do(args ...string) string {
	f.t.Helper()
	return run(f.t, f.h, args...)
}

func (f *fleet) inspect(name, format string) string {
	f.t.Helper()
	return strings.TrimSpace(f.do("inspect", "-f", format, name))
}

func (f *fleet) is(name, format, want string) {
	f.t.Helper()
	if got := f.inspect(name, format); got != want {
		f.t.Errorf("%s: %s is %q, want %q", name, format, got, want)
	}
}

// code runs a command that must end with this exit code.
func (f *fleet) code(want int, args ...string) {
	f.t.Helper()
	_, err := f.h.CLI(f.t.Context(), args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		f.t.Errorf("shoal %s: %v, want exit code %d", strings.Join(args, " "), err, want)
	}
}

// processes are a container's first process and those that exec has brought, each with the time of its start.
func (f *fleet) processes(name string) []string {
	f.t.Helper()
	pid, err := strconv.Atoi(f.inspect(name, "{{.State.Pid}}"))
	if err != nil || pid == 0 {
		f.t.Fatalf("%s has no process: %v: %s\n%s", name, err, f.inspect(name, "{{json .State}}"), f.do("events", "--since", "5m", "--until", "0s", "--filter", "container="+name))
	}
	all := []string{started(pid)}
	for _, c := range hosts.Children(shimOf(pid)) {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c)); strings.HasPrefix(string(line), "sleep\x00100000") {
			all = append(all, started(c))
		}
	}
	return all
}

// started is "PID@START", which no other process has; of one that has ended "".
func started(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(after); len(fields) > 19 && fields[0] != "Z" {
		return fmt.Sprintf("%d@%s", pid, fields[19])
	}
	return ""
}

func shimOf(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	ppid, _ := strconv.Atoi(append(strings.Fields(after), "", "")[1])
	return ppid
}

// endWithoutDaemon lets two containers end while nobody is there to see it.
func (f *fleet) endWithoutDaemon() {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.h.Dir, "data/volumes/data/_data/end"), nil, 0o644); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, "containers end without a daemon", 10*time.Second, func() error {
		exits, _ := filepath.Glob(filepath.Join(f.h.Dir, "run/shims/*/exit"))
		if len(exits) < 3 {
			return fmt.Errorf("%d have ended", len(exits))
		}
		return nil
	})
	f.page("old-") // a published port needs no daemon
}

// checkEnds: what has ended without a daemon has its exit code, its event and its restart policy.
func (f *fleet) checkEnds() {
	f.t.Helper()
	eventually(f.t, "a restart policy goes on", 10*time.Second, func() error {
		if got := f.inspect("again", "{{.State.Status}} {{.RestartCount}}"); got != "running 1" {
			return fmt.Errorf("again is %s", got)
		}
		return nil
	})
	eventually(f.t, "what fails again and again is started again and again", 10*time.Second, func() error {
		if n, err := strconv.Atoi(f.inspect("loops", "{{.RestartCount}}")); err != nil || n < 5 {
			return fmt.Errorf("%d starts, %v", n, err)
		}
		return nil
	})
	eventually(f.t, "it is seen between two of its starts", 10*time.Second, func() error {
		if got := f.inspect("loops", "{{.State.ExitCode}}"); got != "26" {
			return errors.New("its exit code is " + got)
		}
		return nil
	})
	f.is("rests", "{{.State.Status}} {{.State.ExitCode}}", "exited 3")
	if got := f.do("ps", "-aq", "--filter", "name=^goes$"); got != "" {
		f.t.Errorf("a container that was to go at its end is still there: %s", got)
	}
	f.is("ends", "{{.State.Status}} {{.State.ExitCode}}", "exited 23")
	if got := strings.TrimSpace(f.do("wait", "ends")); got != "23" {
		f.t.Errorf("wait says %s", got)
	}
	events := f.do("events", "--since", "5m", "--until", "0s", "--filter", "event=die", "--format", "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}")
	for _, want := range []string{"ends 23\n", "again 24\n"} {
		if strings.Count(events, want) != 1 {
			f.t.Errorf("events of ends are %q, want %q once", events, want)
		}
	}
}

// alive looks at all that was left alone: the same processes, the same state, logs without a gap.
func (f *fleet) alive() {
	f.t.Helper()
	for _, p := range f.prefix {
		for _, name := range f.running(p) {
			if now := f.processes(name); fmt.Sprint(now) != fmt.Sprint(f.procs[name]) {
				f.t.Errorf("%s: processes changed from %v to %v", name, f.procs[name], now)
			}
			state := "running"
			if name == p+"paused" {
				state = "paused"
			}
			f.is(name, "{{.State.Status}} {{.RestartCount}}", state+" 0")
		}
		f.page(p)
		f.is(p+"exited", "{{.State.Status}} {{.State.ExitCode}}", "exited 7")
		f.is(p+"created", "{{.State.Status}}", "created")
		if got := f.do("logs", p+"exited"); got != "last words\n" {
			f.t.Errorf("log of %sexited: %q", p, got)
		}
		f.logIsWhole(p + "counts")
	}
	if got := strings.Fields(f.do("ps", "-q")); len(got) < 9*len(f.prefix) {
		f.t.Errorf("%d containers run", len(got))
	}
}

// check is alive, and everything else that changes nothing.
func (f *fleet) check() {
	f.t.Helper()
	f.alive()
	for _, p := range f.prefix {
		f.healthGoesOn(p + "healthy")
	}
	args := []string{"stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"}
	for _, p := range f.prefix {
		args = append(args, p+"execs")
	}
	stats := f.do(args...)
	if len(strings.Split(strings.TrimSpace(stats), "\n")) != len(f.prefix) || strings.Contains(stats, " 0\n") {
		f.t.Errorf("stats shows %q", stats)
	}
}

func (f *fleet) logIsWhole(name string) {
	f.t.Helper()
	lines := func() []string { return strings.Fields(f.do("logs", name)) }
	before := len(lines())
	eventually(f.t, "log of "+name+" goes on", 10*time.Second, func() error {
		if n := len(lines()); n <= before {
			return fmt.Errorf("still %d lines", n)
		}
		return nil
	})
	next, runs := 0, 0
	for i, line := range lines() {
		if line == "0" {
			next, runs = 0, runs+1
		}
		if line != strconv.Itoa(next) {
			f.t.Errorf("line %d of the log of %s is %q, want %d", i, name, line, next)
			return
		}
		next++
	}
	if runs != f.runs[name] {
		f.t.Errorf("the log of %s holds %d runs, want %d", name, runs, f.runs[name])
	}
}

func (f *fleet) healthGoesOn(name string) {
	f.t.Helper()
	lines := func() int { return strings.Count(f.do("exec", name, "cat", "/checks"), "x") }
	before := lines()
	eventually(f.t, "health checks of "+name+" go on", 10*time.Second, func() error {
		if n := lines(); n <= before {
			return fmt.Errorf("still %d checks", n)
		}
		return nil
	})
	eventually(f.t, name+" is healthy", 10*time.Second, func() error {
		if got := f.inspect(name, "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"); got != "healthy 0" {
			return errors.New(got)
		}
		return nil
	})
}

// talk attaches to a container, says something and hears the answer.
func (f *fleet) talk(name string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), busy)
	defer cancel()
	cmd := f.h.Command(ctx, "attach", name)
	in, err := cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.h.Inside(cmd.Start); err != nil {
		f.t.Fatal(err)
	}
	io.WriteString(in, "hello\n")
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "got hello\n" {
		f.t.Errorf("%s answers %q, %v", name, line, err)
	}
	cancel()
	cmd.Wait()
}
