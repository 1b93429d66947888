//go:build linux

package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// ownUsers is a container with a user namespace of its own.
func ownUsers(name, mode, network string) *api.CreateContainerRequest {
	r := request(name, "echo mine > /root/file; echo kept >> /data/file; echo ready; sleep 1000")
	r.Spec.UsernsMode, r.NetworkMode = mode, network
	r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Source: "data", Target: "/data"}, {Type: api.Mount_VOLUME, Source: "conf", Target: "/etc"}}
	return r
}

func TestOwnUsers(t *testing.T) {
	l := openLab(t)
	a := l.row(l.ready(ownUsers("a1", "auto", NetworkBridge)))
	b := l.row(l.ready(ownUsers("b1", "auto", NetworkNone)))
	if a.UsernsSize != usersSize || b.UsernsSize != usersSize || a.UsernsBase == b.UsernsBase {
		t.Fatalf("ranges %d+%d and %d+%d, want two", a.UsernsBase, a.UsernsSize, b.UsernsBase, b.UsernsSize)
	}
	for _, row := range []*api.Container{a, b} {
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d", row.Pid), &st); err != nil || st.Uid != row.UsernsBase {
			t.Errorf("%s: its root is user %d of the host, %v; want %d", row.Name, st.Uid, err, row.UsernsBase)
		}
		got := l.exec(row.Id, `id -u; stat -c %u /root/file /bin/busybox /data/file /etc/passwd /etc/hosts /dev/pts; cat /data/file
			echo "1.2.3.4 other" >> /etc/hosts && chown 5:6 /root/file && stat -c %u:%g /root/file; ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start`)
		if f := strings.Fields(got); !strings.HasPrefix(strings.Join(f, " "), "0 0 0 0 0 0 0 kept") || !strings.Contains(got, "5:6\n") || !strings.HasSuffix(got, "lo\n0\n") {
			t.Errorf("%s sees %q", row.Name, got)
		}
	}
	if got := l.exec("a1", "ip -o -4 addr show eth0"); !strings.Contains(got, "inet 172.") {
		t.Errorf("network: %q", got)
	}
	var st unix.Stat_t
	volume := filepath.Join(l.dir, "data", "volumes", "data", "_data", "file")
	if err := unix.Stat(volume, &st); err != nil || st.Uid != 0 {
		t.Errorf("in the volume the file belongs to %d, %v; want root, whoever mounts it", st.Uid, err)
	}
	// Nobody but the container's root gets into its bundle.
	if err := unix.Stat(l.bundle(a.Id), &st); err != nil || st.Mode&0o007 != 0 || st.Gid != a.UsernsBase {
		t.Errorf("bundle: mode %o, group %d, %v", st.Mode, st.Gid, err)
	}
	l.reopen()
	if row := l.row("a1"); row.Pid != a.Pid || row.State != api.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after a restart of the daemon: %v", row)
	}
	if c := l.row(l.create(ownUsers("c1", "auto", NetworkNone))); c.UsernsBase == a.UsernsBase || c.UsernsBase == b.UsernsBase {
		t.Errorf("a range was given twice")
	}
	if err := l.Remove(l.ctx(), "b1", true, false); err != nil {
		t.Fatal(err)
	}
	if d := l.row(l.ready(ownUsers("d1", "auto", NetworkHost))); d.UsernsBase != b.UsernsBase {
		t.Errorf("a range that was given back is not used again: %d, want %d", d.UsernsBase, b.UsernsBase)
	}
	if x, y := l.row(l.ready(ownUsers("x1", "remap", NetworkNone))), l.row(l.create(ownUsers("y1", "remap", NetworkNone))); x.UsernsBase != y.UsernsBase {
		t.Errorf("remap: ranges %d and %d, want one", x.UsernsBase, y.UsernsBase)
	}
	if got := l.exec("x1", "cat /data/file | wc -l"); got != "4\n" {
		t.Errorf("four containers have written to the volume, %q lines are in it", got)
	}
}

// Clocks of its own and users of its own go together.
func TestOwnUsersAndClocks(t *testing.T) {
	l := openLab(t)
	r := ownUsers("clocks", "auto", NetworkNone)
	r.Spec.TimeOffsets = map[string]string{"boottime": "1000000"}
	id := l.ready(r)
	if got := l.exec(id, "cat /proc/self/timens_offsets"); !strings.Contains(strings.Join(strings.Fields(got), " "), "boottime 1000000 0") {
		t.Errorf("offsets: %q", got)
	}
}

func TestOwnUsersOfATask(t *testing.T) {
	l := openLab(t)
	r := ownUsers("task", "auto", NetworkExternal)
	id := l.create(r)
	if _, err := os.Stat(l.row(id).Netns); err != nil {
		t.Fatal(err)
	}
	l.reopen() // its namespaces wait for its start
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	if got := l.exec(id, "readlink /proc/self/ns/net"); got != netnsOf(t, l.row(id).Netns)+"\n" {
		t.Errorf("network namespace %q, want %q", got, netnsOf(t, l.row(id).Netns))
	}
}

func netnsOf(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("net:[%d]", st.Ino)
}

func TestOwnUsersRefusals(t *testing.T) {
	l := openLab(t)
	for what, change := range map[string]func(*api.CreateContainerRequest){
		"privileged": func(r *api.CreateContainerRequest) { r.Spec.Privileged = true },
		"--pid host": func(r *api.CreateContainerRequest) { r.Spec.PidMode = "host" },
		"--ipc host": func(r *api.CreateContainerRequest) { r.Spec.IpcMode = "host" },
		"--userns":   func(r *api.CreateContainerRequest) { r.Spec.UsernsMode = "nope" },
	} {
		r := ownUsers("", "auto", NetworkNone)
		change(r)
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %q", err, what)
		}
	}
}
