//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// workOn gives every command to every container of a generation. All run again at the end, as new processes.
func (f *fleet) workOn(p string) {
	f.t.Helper()
	f.talk(p + "talks")
	f.look(p)
	f.change(p)
	for _, name := range f.running(p) {
		f.end(p, name)
	}
	f.do("pause", p+"paused")
	f.remember(p)
	f.hasNames(p)
	f.check()
}

// hasNames has a container ask for another one.
func (f *fleet) hasNames(p string, server ...string) {
	f.t.Helper()
	address := f.inspect(p+"counts", "{{.NetworkSettings.Networks.app.IPAddress}}")
	if got := f.do(append([]string{"exec", p + "execs", "nslookup", p + "counts"}, server...)...); !strings.Contains(got, address) {
		f.t.Errorf("%scounts is %s, a container is told %s", p, address, got)
	}
}

// look adds processes and reads what there is.
func (f *fleet) look(p string) {
	f.t.Helper()
	for _, name := range f.running(p) {
		if name == p+"published" || name == p+"paused" {
			continue
		}
		if got := f.do("exec", name, "echo", "in"); got != "in\n" {
			f.t.Errorf("exec in %s says %q", name, got)
		}
		f.code(9, "exec", name, "sh", "-c", "exit 9")
	}
	for args, want := range map[string]string{
		"exec " + p + "execs id -u":                      "1000\n",
		"exec " + p + "stores cat /data/" + p + "date":   f.do("exec", "old-stores", "cat", "/data/"+p+"date"),
		"exec " + p + "stores touch /tmp/x /anonymous/x": "",
	} {
		if got := f.do(strings.Fields(args)...); got != want {
			f.t.Errorf("shoal %s says %q, want %q", args, got, want)
		}
	}
	for range 2 { // the first must not take the volume away from who has it mounted
		if got := f.do("run", "--rm", "-v", "memory:/memory", "box:1", "cat", "/memory/"+p+"kept"); got != "kept\n" {
			f.t.Errorf("in memory there is %q", got)
		}
	}
	f.hasNames(p, "127.0.0.11") // the oldest know no names: their /etc/resolv.conf has them at the next start
	if got := f.do("top", p+"execs"); !strings.Contains(got, "sleep 100000") {
		f.t.Errorf("top shows no process of exec: %s", got)
	}
	if got := f.do("diff", p+"healthy"); !strings.Contains(got, "A /checks\n") {
		f.t.Errorf("diff shows %q", got)
	}
	f.is(p+"healthy", `{{(index .HostConfig.PortBindings "90/tcp" 0).HostPort}} {{(index .Mounts 0).Driver}}`, f.port(p)+"1 local")
	f.do("cp", p+"paused:/etc/passwd", filepath.Join(f.t.TempDir(), "passwd"))
	f.do("commit", p+"counts", "committed:1")
}

// change is all that changes a container that goes on.
func (f *fleet) change(p string) {
	f.t.Helper()
	for _, name := range f.running(p) {
		if name == p+"paused" {
			f.do("unpause", name)
		}
		f.do("update", "--pids-limit", "77", "--memory", "128m", "--memory-swap", "256m", name)
		if got := pidsMax(f.h, f.inspect(name, "{{.Id}}")); got != "77" {
			f.t.Errorf("the kernel lets %s have %s processes", name, got)
		}
		f.do("pause", name)
		f.is(name, "{{.State.Status}}", "paused")
		f.do("unpause", name)
		f.do("rename", name, "renamed")
		f.do("rename", "renamed", name)
		if now := f.processes(name); fmt.Sprint(now) != fmt.Sprint(f.procs[name]) {
			f.t.Errorf("%s: processes changed from %v to %v", name, f.procs[name], now)
		}
	}
	f.do("network", "disconnect", "app", p+"counts")
	f.do("network", "connect", "app", p+"counts")
}

// end stops a container, starts it, kills it, restarts it.
func (f *fleet) end(p, name string) {
	f.t.Helper()
	heeds := !strings.HasSuffix(name, "counts") && !strings.HasSuffix(name, "talks") && !strings.HasSuffix(name, "published")
	f.do("stop", "-t", map[bool]string{true: "10", false: "0"}[heeds], name)
	code := map[bool]string{true: "3", false: "137"}[heeds]
	f.is(name, "{{.State.Status}} {{.State.ExitCode}}", "exited "+code)
	f.do("start", name)
	f.begun(name)
	f.do("kill", name)
	f.do("wait", name)
	f.is(name, "{{.State.Status}} {{.State.ExitCode}}", "exited 137")
	f.do("start", name)
	f.begun(name)
	f.do("restart", "-t", "0", name)
	f.is(name, "{{.State.Status}}", "running")
}

// begun waits until a run is in the log, so that none is too short to be.
func (f *fleet) begun(name string) {
	f.t.Helper()
	if f.runs[name]++; !strings.HasSuffix(name, "counts") {
		return
	}
	eventually(f.t, "the run of "+name+" has begun", 10*time.Second, func() error {
		n := 0
		for _, line := range strings.Fields(f.do("logs", name)) {
			if line == "0" {
				n++
			}
		}
		if n != f.runs[name] {
			return fmt.Errorf("the log holds %d runs, not %d", n, f.runs[name])
		}
		return nil
	})
}

// page reads the page of the published port from outside.
func (f *fleet) page(p string) {
	f.t.Helper()
	eventually(f.t, "published port of "+p, 5*time.Second, func() error {
		_, err := f.outside.Get(f.t.Context(), fmt.Sprintf("http://%s:%s/", f.h.Addr, f.port(p)), time.Second)
		return err
	})
}

// remove removes all: running, paused, stopped, never started.
func (f *fleet) remove() {
	f.t.Helper()
	for _, p := range f.prefix {
		f.do("start", "-a", p+"created")
		f.code(7, "start", "-a", p+"exited")
		f.do("stop", "-t", "0", p+"counts")
		f.do("rm", "-v", p+"created", p+"exited")
		for _, name := range f.kinds[p] {
			f.do("rm", "-f", "-v", name)
		}
		f.do("volume", "rm", p+"own") // it has a name: removing the container has not removed it
	}
	f.do("rm", "ends", "rests")
	f.do("rm", "-f", "again", "loops")
	f.do("rmi", "committed:1")
	f.do("image", "prune", "-f") // those whose name another commit took
	f.do("volume", "rm", "data", "memory")
	f.do("network", "rm", "app")
}
