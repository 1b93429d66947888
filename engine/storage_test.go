//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestVolumes(t *testing.T) {
	l := openLab(t)
	mount := func(source, target string) *api.Mount {
		return &api.Mount{Type: api.Mount_VOLUME, Source: source, Target: target}
	}
	first := request("first", "echo kept >/data/file; echo mine > /etc/motd")
	first.Spec.Mounts = []*api.Mount{mount("data", "/data"), mount("conf", "/etc")}
	l.ended(l.run(first))
	if err := l.Remove(l.ctx(), "first", false, true); err != nil {
		t.Fatal(err)
	}
	second := request("second", "cat /data/file /conf/motd; grep bob /conf/passwd; echo x > /ro/file")
	second.Spec.Mounts = []*api.Mount{mount("data", "/data"), mount("conf", "/conf"), mount("data", "/ro")}
	second.Spec.Mounts[2].ReadOnly = true
	l.ended(l.run(second))
	got := l.logs("second")
	if !strings.HasPrefix(got, "kept\nmine\nbob:") || !strings.Contains(got, "Read-only file system") {
		t.Errorf("the second container sees %q: a volume persists, and an empty one starts with what the image has there", got)
	}
	volumes, err := l.VolumeStore().List(l.ctx())
	if err != nil || len(volumes) != 2 {
		t.Errorf("volumes %v, %v", volumes, err)
	}
	if err := l.RemoveVolume(l.ctx(), "data", false); err == nil || !strings.Contains(err.Error(), "second") {
		t.Errorf("removing a volume in use: %v, want an error that names the container", err)
	}
}

func TestBindsAndTmpfs(t *testing.T) {
	l := openLab(t)
	dir := t.TempDir()
	r := request("", "echo x > /bind/new; touch /tmp/ok && stat -c %a /scratch; df -k /scratch | tail -1 | awk '{print $2}'")
	r.Spec.Mounts = []*api.Mount{
		{Type: api.Mount_BIND, Source: dir, Target: "/bind"},
		{Type: api.Mount_TMPFS, Target: "/scratch", TmpfsSizeBytes: 1 << 20, TmpfsMode: 0o700},
	}
	r.Spec.ReadOnly = false
	row := l.ended(l.run(r))
	if got := l.logs(row.Id); got != "700\n1024\n" {
		t.Errorf("got %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "new")); err != nil || string(b) != "x\n" {
		t.Errorf("bind: %q, %v", b, err)
	}
	missing := request("", "true")
	missing.Spec.Mounts = []*api.Mount{{Type: api.Mount_BIND, Source: dir + "/nope", Target: "/x"}}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: missing}); err == nil || !strings.Contains(err.Error(), dir+"/nope") {
		t.Errorf("a bind source that is not there: %v", err)
	}
	missing.Spec.Mounts[0].CreateSource = true
	l.ended(l.run(missing))
	if st, err := os.Stat(dir + "/nope"); err != nil || !st.IsDir() {
		t.Errorf("-v makes a missing source: %v", err)
	}
}

// A container's own writes are its own, and gone with it.
func TestCopyOnWrite(t *testing.T) {
	l := openLab(t)
	a := l.run(request("a1", "echo changed > /etc/passwd; rm /bin/sed; sleep 1000"))
	l.exec(a, "while ! grep -q changed /etc/passwd || test -e /bin/sed; do sleep 0.01; done")
	if got := l.exec(l.run(request("b1", "sleep 1000")), "head -1 /etc/passwd; ls /bin/sed"); got != "root:x:0:0:root:/root:/bin/sh\n/bin/sed\n" {
		t.Errorf("another container of the image sees %q", got)
	}
	l.reopen()
	if got := l.exec(a, "cat /etc/passwd"); got != "changed\n" {
		t.Errorf("after a restart of the daemon %q", got)
	}
}
