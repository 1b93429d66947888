//go:build linux

package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/engine/enginetest"
)

// vendor writes a specification as vendors' tools do: a device of another name, a variable, a mount, a group, and a hook of
// the host that acts on the container's root from within its mount namespace.
func (l *lab) vendor() {
	l.t.Helper()
	dir := filepath.Join(l.dir, "cdi")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	script := `root=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/')/rootfs; readlink /proc/self/ns/mnt > $root/ns; mkdir -p $root/lib64 && mount -t tmpfs vendorlib $root/lib64 && echo linked > $root/lib64/cache`
	text := fmt.Sprintf(`---
cdiVersion: "0.7.0"
kind: acme.com/device
containerEdits:
  env: [ACME_VISIBLE=all]
  additionalGids: [4242]
devices:
- name: zero
  containerEdits:
    deviceNodes:
    - {path: /dev/acme0, hostPath: /dev/zero, permissions: rw}
    mounts:
    - {hostPath: %[1]s/cdi, containerPath: /etc/acme, options: [ro, nosuid, nodev, bind]}
    hooks:
    - {hookName: createContainer, path: %[2]s, args: [busybox, sh, -c, %[3]q], env: ["PATH=%[4]s"], timeout: 20}
- name: lost
  containerEdits:
    deviceNodes:
    - path: /dev/acme-lost
- name: angry
  containerEdits:
    hooks:
    - {hookName: createContainer, path: %[2]s, args: [busybox, sh, -c, "echo out of order >&2; exit 4"]}
`, l.dir, enginetest.Busybox(l.t), script, os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, "acme.yaml"), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func TestCDI(t *testing.T) {
	l := openLab(t)
	l.vendor()
	for _, c := range []struct{ userns, runtime string }{{}, {userns: "auto"}, {runtime: "runc"}} {
		if _, err := exec.LookPath("runc"); err != nil && c.runtime != "" {
			t.Log("SKIPPED: runc is not installed: make deps")
			continue
		}
		r := request("cdi"+c.userns+c.runtime, "sleep 1000")
		r.Spec.CdiDevices, r.Spec.UsernsMode, r.Spec.Runtime = []string{"acme.com/device=zero"}, c.userns, c.runtime
		id := l.run(r)
		got := l.exec(id, "head -c 4 /dev/acme0 | od -An -tx1; echo x > /dev/acme0; ls /etc/acme; touch /etc/acme/x 2>/dev/null || echo read-only; cat /lib64/cache; cat /ns; readlink /proc/self/ns/mnt; id -G; echo $ACME_VISIBLE")
		f := strings.Fields(got)
		want := "00 00 00 00 acme.yaml read-only linked NS NS 0 4242 all"
		if len(f) > 9 && f[7] == f[8] {
			f[7], f[8] = "NS", "NS"
		}
		if strings.Join(f, " ") != want {
			t.Errorf("%+v: got %q, want %q", c, f, want)
		}
		if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), "vendorlib") {
			t.Error("the hook's mount is on the host")
		}
		if err := l.Remove(l.ctx(), id, true, true); err != nil {
			t.Error(err)
		}
	}
	// The device's rule is the specification's: what it does not allow is refused, and without it there is no device at all.
	r := request("other", "sleep 1000")
	r.Spec.CapAdd = []string{"MKNOD"}
	if got := l.exec(l.run(r), "mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg 2>&1 | grep -c 'not permitted'; ls /dev/acme0 2>&1 | grep -c 'No such'"); got != "1\n1\n" {
		t.Errorf("a container without the device: %q", got)
	}
}

// A device of the host that no container may use by itself is usable when its specification says so.
func TestCDIRule(t *testing.T) {
	l := openLab(t)
	if err := os.MkdirAll(filepath.Join(l.dir, "cdi"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := `{"cdiVersion":"0.6.0","kind":"acme.com/log","devices":[{"name":"read","containerEdits":{"deviceNodes":[{"path":"/dev/log0","hostPath":"/dev/kmsg","permissions":"r"}]}},
		{"name":"none","containerEdits":{"deviceNodes":[{"path":"/dev/log0","hostPath":"/dev/kmsg","permissions":"none"}]}}]}`
	if err := os.WriteFile(filepath.Join(l.dir, "cdi", "log.json"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"read": "reads\n", "none": ""} {
		r := request(name, "sleep 1000")
		r.Spec.CdiDevices = []string{"acme.com/log=" + name}
		r.Spec.CapAdd = []string{"SYSLOG"}
		if got := l.exec(l.run(r), "(: < /dev/log0) 2>/dev/null && echo reads; (: >> /dev/log0) 2>/dev/null && echo writes; true"); got != want {
			t.Errorf("permissions %s: %q, want %q", name, got, want)
		}
	}
}

func TestCDIRefusals(t *testing.T) {
	l := openLab(t)
	l.vendor()
	for name, want := range map[string]string{
		"acme.com/device=two": "no specification in ", "acme.com/device=lost": "/dev/acme-lost", "other.com/device=x": "no specification in ",
		"acme.com/device=angry": "exit status 4: out of order",
	} {
		r := request("", "true")
		r.Spec.CdiDevices = []string{name}
		var failed *StartError
		if err := l.Start(l.ctx(), l.create(r)); !errors.As(err, &failed) || failed.ExitCode != 125 || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q in one line", name, err, want)
		}
	}
	// What is there at the start counts, not what was there at the creation.
	r := request("late", "echo $ACME_VISIBLE")
	r.Spec.CdiDevices = []string{"acme.com/device=zero"}
	id := l.create(r)
	path := filepath.Join(l.dir, "cdi", "acme.yaml")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(l.ctx(), id); err == nil {
		t.Error("a device whose specification has gone is there")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(l.ctx(), id); err != nil {
		t.Error(err)
	}
	if l.ended(id); l.logs(id) != "all\n" {
		t.Errorf("it says %q", l.logs(id))
	}
	bad := request("", "true")
	bad.Spec.CdiDevices = []string{"/dev/null"}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: bad}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a path: %v", err)
	}
}
