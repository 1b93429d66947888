//go:build linux

package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/internal/poll"
)

// hook is a script of the host.
func hook(t *testing.T, script string, timeout ...int) specs.Hook {
	h := specs.Hook{Path: enginetest.Busybox(t), Args: []string{"sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH"), "MINE=yes"}}
	if len(timeout) > 0 {
		h.Timeout = &timeout[0]
	}
	return h
}

// note writes what a hook sees to a file of the host: its state, and its namespaces.
func note(dir, kind string) string {
	return fmt.Sprintf(`set -e; cat > %[1]s/%[2]s.json; for n in mnt pid net uts ipc cgroup user; do readlink /proc/self/ns/$n; done > %[1]s/%[2]s.ns; pwd > %[1]s/%[2]s.cwd; echo %[2]s >> %[1]s/order; echo $MINE > %[1]s/env`, dir, kind)
}

func ownNamespaces(pid string) string {
	var b strings.Builder
	for _, n := range []string{"mnt", "pid", "net", "uts", "ipc", "cgroup", "user"} {
		link, _ := os.Readlink("/proc/" + pid + "/ns/" + n)
		b.WriteString(link + "\n")
	}
	return b.String()
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every kind of hook runs where and when the specification says, and reads the state of the container then.
func TestHooks(t *testing.T) {
	enginetest.NeedRoot(t)
	dir := t.TempDir()
	b := newBox(t, sh("cat /hooked /proc/1/comm; sleep 1000"), func(s *specs.Spec) {
		// What a vendor's tool does: something mounted below the container's root, by its path on the host.
		act := `set -e; echo from the hook > ` + s.Root.Path + `/hooked; mkdir -p ` + s.Root.Path + `/mnt; mount -t tmpfs mounted ` + s.Root.Path + `/mnt; `
		s.Annotations = map[string]string{"a": "b"}
		s.Hooks = &specs.Hooks{
			//lint:ignore SA1019 CDI specs have it
			Prestart:      []specs.Hook{hook(t, note(dir, "prestart"))},
			CreateRuntime: []specs.Hook{hook(t, note(dir, "createRuntime"))}, CreateContainer: []specs.Hook{hook(t, act+note(dir, "createContainer"), 30)},
			StartContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat > /dev/shm/state; (pwd; echo $$; id -u; cat /proc/self/status) > /dev/shm/start"}}},
			Poststart:      []specs.Hook{hook(t, note(dir, "poststart"))}, Poststop: []specs.Hook{hook(t, note(dir, "poststop"))},
		}
	})
	st := b.create()
	if _, err := os.Stat(filepath.Join(dir, "poststart.json")); err == nil {
		t.Error("poststart ran before the start")
	}
	if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	here, inside := ownNamespaces("self"), ownNamespaces(strconv.Itoa(st.Pid))
	started, _, _ := b.exec(ExecOptions{Process: b.process("cat", "/dev/shm/state", "/dev/shm/start", "/proc/mounts", "/hooked")}, "")
	if !strings.Contains(started, "mounted /mnt tmpfs") {
		t.Errorf("what the hook has mounted is not in the container: %s", started)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	if strings.Contains(string(mounts), "mounted ") {
		t.Error("what the hook has mounted is on the host")
	}
	for _, want := range []string{`"status":"created"`, `"pid":1,`, "\nSeccomp:\t2\n", "\nCapEff:\t00000000a80425fb\n", "from the hook\n"} {
		if !strings.Contains(started, want) {
			t.Errorf("startContainer: no %q in\n%s", want, started)
		}
	}
	if err := b.rt.Delete(b.ctx(), b.opts.ID); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "order"); got != "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n" {
		t.Errorf("order %q", got)
	}
	if got := read(t, dir, "env"); got != "yes\n" {
		t.Errorf("environment %q", got)
	}
	for kind, want := range map[string]struct {
		status specs.ContainerState
		pid    int
		ns     string
		cwd    string
	}{
		"prestart": {specs.StateCreating, st.Pid, here, b.opts.Bundle}, "createRuntime": {specs.StateCreating, st.Pid, here, b.opts.Bundle},
		"createContainer": {specs.StateCreating, 1, inside, b.spec.Root.Path}, "poststart": {specs.StateRunning, st.Pid, here, b.opts.Bundle},
		"poststop": {specs.StateStopped, 0, here, b.opts.Bundle},
	} {
		var s specs.State
		if err := json.Unmarshal([]byte(read(t, dir, kind+".json")), &s); err != nil {
			t.Fatal(kind, err)
		}
		if s.ID != b.opts.ID || s.Status != want.status || s.Pid != want.pid || s.Bundle != b.opts.Bundle || s.Annotations["a"] != "b" || s.Version != specs.Version {
			t.Errorf("%s: state %+v", kind, s)
		}
		if got := read(t, dir, kind+".ns"); got != want.ns {
			t.Errorf("%s ran in\n%swant\n%s", kind, got, want.ns)
		}
		if got := strings.TrimSpace(read(t, dir, kind+".cwd")); got != want.cwd {
			t.Errorf("%s: directory %s, want %s", kind, got, want.cwd)
		}
	}
}

// A hook that fails or hangs ends what was being done, with its own words; nothing is left.
func TestHooksThatFail(t *testing.T) {
	enginetest.NeedRoot(t)
	dir := t.TempDir()
	word := fmt.Sprintf("777.%d", os.Getpid()) // nobody else's on this machine
	bad, slow := hook(t, "echo no such device >&2; exit 3"), hook(t, "sleep "+word+" & sleep "+word, 1)
	absent := specs.Hook{Path: "/no/such/hook"}
	for name, c := range map[string]struct {
		hooks specs.Hooks
		want  string
	}{
		"createRuntime":             {specs.Hooks{CreateRuntime: []specs.Hook{bad}}, "exit status 3: no such device"},
		"createRuntime, slow":       {specs.Hooks{CreateRuntime: []specs.Hook{slow}}, "killed after its timeout of 1s"},
		"createRuntime, missing":    {specs.Hooks{CreateRuntime: []specs.Hook{absent}}, "/no/such/hook"},
		"createContainer":           {specs.Hooks{CreateContainer: []specs.Hook{bad}}, "createContainer hook " + bad.Path + ": exit status 3: no such device"},
		"createContainer, slow":     {specs.Hooks{CreateContainer: []specs.Hook{slow}}, "killed after its timeout of 1s"},
		"createContainer, missing":  {specs.Hooks{CreateContainer: []specs.Hook{absent}}, "/no/such/hook"},
		"createContainer, relative": {specs.Hooks{CreateContainer: []specs.Hook{{Path: "hook"}}}, "must be absolute"},
		"startContainer":            {specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/false"}}}, "startContainer hook /bin/false: exit status 1"},
		"startContainer, missing":   {specs.Hooks{StartContainer: []specs.Hook{absent}}, "/no/such/hook"},
		"poststart":                 {specs.Hooks{Poststart: []specs.Hook{bad}}, "exit status 3: no such device"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, sh("touch /ran; sleep 1000"), func(s *specs.Spec) {
				c.hooks.Poststop = []specs.Hook{hook(t, "echo "+strings.ReplaceAll(name, " ", "")+" >> "+dir+"/stopped")}
				s.Hooks = &c.hooks
			})
			_, err := b.rt.Create(b.ctx(), b.opts)
			created := err == nil
			if created {
				err = b.rt.Start(b.ctx(), b.opts.ID)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want %q in one line", err, c.want)
			}
			if _, err := os.Stat(b.spec.Root.Path + "/ran"); err == nil && name != "poststart" {
				t.Error("the command ran")
			}
			if err := b.rt.Delete(b.ctx(), b.opts.ID); err != nil {
				t.Error(err)
			}
			if left := sleepers(word); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			stopped, _ := os.ReadFile(dir + "/stopped")
			if ran := strings.Contains(string(stopped), strings.ReplaceAll(name, " ", "")+"\n"); ran != !strings.Contains(name, "relative") {
				t.Errorf("poststop ran: %v", ran)
			}
		})
	}
}

// sleepers are the processes "sleep WORD", after the time they may take to die.
func sleepers(word string) (left []string) {
	poll.Until(time.Minute, func() bool {
		left = slices.DeleteFunc(enginetest.Processes("sleep "+word), func(p string) bool { return strings.Contains(p, "sh -c") })
		return len(left) == 0
	})
	return left
}

// A hook sees the container's user namespace, and its root in it.
func TestHooksWithUsers(t *testing.T) {
	enginetest.NeedRoot(t)
	got := output(t, sh("cat /tmp/map"), userNamespace, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{hook(t, "cat /proc/self/uid_map > "+s.Root.Path+"/tmp/map; id -u >> "+s.Root.Path+"/tmp/map")}}
	})
	if f := strings.Fields(got); len(f) != 4 || f[1] == "0" || f[3] != "0" {
		t.Errorf("the hook ran with %q", got)
	}
}
