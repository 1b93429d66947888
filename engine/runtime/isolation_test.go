//go:build linux

package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// kinds of namespaces as /proc/PID/ns names them.
var kinds = []string{"pid", "net", "mnt", "uts", "ipc", "cgroup", "time", "user"}

// Every namespace that is private differs from the host's, every shared one is the same, seen from outside and from inside.
func TestNamespaces(t *testing.T) {
	const look = "for k in pid net mnt uts ipc cgroup time user; do readlink /proc/self/ns/$k; done; sleep 100"
	shared := func(list ...specs.LinuxNamespaceType) func(*specs.Spec) {
		return func(s *specs.Spec) {
			for _, drop := range list {
				keep := s.Linux.Namespaces[:0]
				for _, ns := range s.Linux.Namespaces {
					if ns.Type != drop {
						keep = append(keep, ns)
					}
				}
				s.Linux.Namespaces = keep
			}
		}
	}
	for _, c := range []struct {
		name    string
		private string
		change  func(*specs.Spec)
	}{
		{"default", "pid net mnt uts ipc cgroup time", func(*specs.Spec) {}},
		{"host pid", "net mnt uts ipc cgroup time", shared(specs.PIDNamespace)},
		{"host ipc and uts", "pid net mnt cgroup time", func(s *specs.Spec) {
			shared(specs.IPCNamespace, specs.UTSNamespace)(s)
			s.Hostname = ""
		}},
		{"host net", "pid mnt uts ipc cgroup time", func(s *specs.Spec) {
			shared(specs.NetworkNamespace)(s)
			s.Linux.Sysctl = nil
		}},
		{"host cgroup and time", "pid net mnt uts ipc", shared(specs.CgroupNamespace, specs.TimeNamespace)},
		{"user", "pid net mnt uts ipc cgroup time user", userNamespace},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, sh(look), c.change).start()
			enginetest.Until(t, "it has looked", func() bool { return len(strings.Fields(b.logged())) == len(kinds) })
			inside := strings.Fields(b.logged())
			for i, k := range kinds {
				host := must(os.Readlink("/proc/self/ns/" + k))(t)
				outside := must(os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", b.state().Pid, k)))(t)
				if private := strings.Contains(" "+c.private+" ", " "+k+" "); private == (host == outside) {
					t.Errorf("%s namespace: host %s, container %s, want private: %v", k, host, outside, private)
				}
				if inside[i] != outside {
					t.Errorf("%s namespace: %s from inside, %s from outside", k, inside[i], outside)
				}
			}
		})
	}
}

// userNamespace maps the container's users to ones that the host does not have.
func userNamespace(s *specs.Spec) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 700000, Size: 65536}}
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
	delete(s.Linux.Sysctl, "net.ipv4.ping_group_range") // names groups that are not mapped
	for dir := s.Root.Path; dir != os.TempDir(); dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // its users must reach the root file system
	}
	os.Chmod(s.Root.Path+"/tmp", 0o1777)
}

func TestUserNamespace(t *testing.T) {
	b := newBox(t, sh("id -u; cat /proc/self/uid_map; touch /tmp/x && stat -c %u /tmp/x; echo -n >/dev/null && echo null; sleep 100"), userNamespace)
	b.start()
	enginetest.Until(t, "it has looked", func() bool { return strings.Contains(b.logged(), "null") })
	if f := strings.Fields(b.logged()); strings.Join(f, " ") != "0 0 700000 65536 0 null" {
		t.Errorf("inside: %q", b.logged())
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", b.state().Pid), &st); err != nil || st.Uid != 700000 {
		t.Errorf("on the host the container's root is user %d, %v; want 700000", st.Uid, err)
	}
	if out, _, _ := b.exec(ExecOptions{Process: b.process("sh", "-c", "id -u; readlink /proc/self/ns/user")}, ""); !strings.HasPrefix(out, "0\n") ||
		!strings.Contains(out, must(os.Readlink(fmt.Sprintf("/proc/%d/ns/user", b.state().Pid)))(t)) {
		t.Errorf("exec sees %q", out)
	}
}

func TestTimeOffset(t *testing.T) {
	s := sh("cut -d. -f1 /proc/uptime 2>/dev/null || awk '{print int($1)}' /proc/uptime")
	s.TimeOffsets = map[string]string{"boottime": "1000000"}
	var up int
	if _, err := fmt.Sscan(output(t, s), &up); err != nil || up < 1000000 {
		t.Errorf("uptime inside is %d s, %v; want a million more than the host's", up, err)
	}
}

func TestSecurityDefaults(t *testing.T) {
	out := output(t, sh("cat /proc/self/status; ls /proc/self/fd; ls -A /proc/acpi /sys/firmware; wc -c </proc/kcore; wc -c </proc/keys"))
	for _, want := range []string{
		"CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000",
		"Seccomp:\t2", "NoNewPrivs:\t0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if s := sh("grep NoNewPrivs /proc/self/status"); true {
		s.NoNewPrivileges = true
		if got := output(t, s); got != "NoNewPrivs:\t1\n" {
			t.Errorf("no_new_privs: %q", got)
		}
	}
}

// A link in the image at the place of a mount is followed within the image, never out of it.
func TestMountTargetsStayInside(t *testing.T) {
	outside := t.TempDir()
	b := newBox(t, sh("ls /data/; cat /up/sub/dir"), func(s *specs.Spec) {
		root := s.Root.Path
		err := errors.Join(os.MkdirAll(root+outside, 0o755), os.Symlink(outside, root+"/data"),
			os.Symlink("../../../../../../../../../"+outside, root+"/up"))
		if err != nil {
			t.Fatal(err)
		}
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/data/new", Type: "tmpfs", Source: "tmpfs"},
			specs.Mount{Destination: "/up/sub/dir", Type: "bind", Source: "/etc/passwd", Options: []string{"bind", "ro"}})
	}).start()
	b.wait()
	dangling := newBox(t, sh("true"), func(s *specs.Spec) {
		if err := os.Symlink(outside, s.Root.Path+"/data"); err != nil {
			t.Fatal(err)
		}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data/new", Type: "tmpfs", Source: "tmpfs"})
	})
	if _, err := dangling.rt.Create(dangling.ctx(), dangling.opts); err == nil || !strings.Contains(err.Error(), "mount tmpfs on /data/new") {
		t.Errorf("mount below a link that leads nowhere: %v", err)
	}
	if left := must(os.ReadDir(outside))(t); len(left) > 0 {
		t.Errorf("made outside of the container: %v", left)
	}
	if got := b.logged(); !strings.Contains(got, "new\n") || !strings.Contains(got, "bob:x:1000") && !strings.Contains(got, "root:x:0") {
		t.Errorf("the mount is not to be seen inside: %q", got)
	}
}

// CVE-2019-5736: the container's first process comes from a file that nobody can write to.
func TestShimCannotBeOverwritten(t *testing.T) {
	s := sh("echo x > /proc/1/exe; dd if=/dev/zero of=/proc/1/exe count=1; ls -l /proc/1/exe; true")
	s.Init, s.Privileged = true, true
	b := newBox(t, s).start()
	b.wait()
	again := newBox(t, sh("echo fine"))
	again.rt = b.rt
	if again.start().wait().Code != 0 || again.logged() != "fine\n" {
		t.Errorf("after the attempt: %q", again.logged())
	}
}

// Where the kernel has AppArmor (the virtual machines' has), a profile is applied.
func TestAppArmor(t *testing.T) {
	unknown := func(s *specs.Spec) { s.Process.ApparmorProfile = "no-such-profile" }
	if !hasAppArmor() {
		b := newBox(t, sh("true"), unknown)
		if _, err := b.rt.Create(b.ctx(), b.opts); err == nil || !strings.Contains(err.Error(), "AppArmor is not enabled on this host") {
			t.Errorf("a profile where there is no AppArmor: %v", err)
		}
		if got := output(t, sh("echo fine"), func(s *specs.Spec) { s.Process.ApparmorProfile = "unconfined" }); got != "fine\n" {
			t.Errorf("unconfined where there is no AppArmor: %q", got)
		}
		t.Skip("SKIPPED: this kernel has no AppArmor; `make e2e-vm` runs this on one that has")
	}
	got := output(t, sh("cat /proc/self/attr/current"), func(s *specs.Spec) { s.Process.ApparmorProfile = "unconfined" })
	if got != "unconfined\n" {
		t.Errorf("profile %q", got)
	}
	b := newBox(t, sh("true"), unknown)
	b.create()
	if err := b.rt.Start(b.ctx(), b.opts.ID); err == nil || !strings.Contains(err.Error(), "set AppArmor profile no-such-profile") {
		t.Errorf("a profile that is not loaded: %v", err)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	s := sh("touch /x 2>/dev/null && exit 1; touch /dev/shm/x && echo ok")
	s.ReadOnly = true
	if got := output(t, s); got != "ok\n" {
		t.Errorf("got %q", got)
	}
}

func TestUser(t *testing.T) {
	got := output(t, sh("id; grep CapEff /proc/self/status; pwd"), func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{2000}}
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = nil, nil
		s.Process.Cwd = "/made/for/it"
	})
	if want := "uid=1000(bob) gid=1000(bob) groups=2000(more)\nCapEff:\t0000000000000000\n/made/for/it\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMounts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := output(t, sh("cat /a/b/file /one; (echo x > /a/b/file) 2>/dev/null && echo writable; echo x >/rw/new; df /scratch | tail -1 | awk '{print $2}'"), func(s *specs.Spec) {
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/a/b", Type: "bind", Source: dir, Options: []string{"rbind", "ro"}},
			specs.Mount{Destination: "/rw", Type: "bind", Source: dir, Options: []string{"rbind"}},
			specs.Mount{Destination: "/one", Type: "bind", Source: dir + "/file", Options: []string{"bind"}},
			specs.Mount{Destination: "/scratch", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m", "nosuid"}})
	})
	if !strings.HasPrefix(got, "content\ncontent\n") || strings.Contains(got, "writable") || !strings.HasSuffix(got, "1024\n") {
		t.Errorf("got %q", got)
	}
	if b, err := os.ReadFile(dir + "/new"); err != nil || string(b) != "x\n" {
		t.Errorf("a writable bind mount: %q, %v", b, err)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for want, change := range map[string]func(*specs.Spec){
		"must be absolute": func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "x"}}} },
		"no such file or directory": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/nope"})
		},
		"SELinux is not enabled":       func(s *specs.Spec) { s.Linux.MountLabel = "system_u:object_r:x:s0" },
		"unknown capability":           func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"CAP_NOPE"} },
		"belongs to the whole machine": func(s *specs.Spec) { s.Linux.Sysctl["kernel.panic"] = "1" },
		"nothing but proc can be mounted": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proc/sys", Type: "bind", Source: "/tmp", Options: []string{"bind"}})
		},
		"no proc at /proc": func(s *specs.Spec) {
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/proc" })
			s.Linux.Sysctl = map[string]string{"kernel.shmmni": "4096"}
		},
		"unknown option": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/", Options: []string{"nope"}})
		},
		"with nope": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"nope"}})
		},
	} {
		b := newBox(t, &api.ContainerSpec{Args: []string{"true"}}, change)
		if _, err := b.rt.Create(b.ctx(), b.opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
