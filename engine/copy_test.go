//go:build linux

package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// entries maps the names in a tar to what the files hold.
func entries(t *testing.T, in io.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(tr)
		out[h.Name] = string(body)
	}
}

func oneFile(name, body string) io.Reader { return bytes.NewReader(tarOf(name, body)) }

func tarOf(name, body string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(body)), Mode: 0o644, Uid: 1000, Gid: 1000})
	io.WriteString(w, body)
	w.Close()
	return b.Bytes()
}

func (l *lab) diff(ref string) string {
	l.t.Helper()
	changes, err := l.Diff(l.ctx(), ref)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, c := range changes {
		out = append(out, c.Kind.String()[:1]+" "+c.Path)
	}
	return strings.Join(out, "\n")
}

func TestDiffAndExport(t *testing.T) {
	l := openLab(t)
	r := request("one", "mkdir /new; echo x >/new/y; rm /bin/sed; echo z >>/etc/passwd; rm -r /home; mkdir /home; touch /home/h; echo done; sleep 1000")
	r.NetworkMode = "" // with everything that a start mounts
	r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Target: "/data"}}
	id := l.run(r)
	l.exec(id, "while ! test -e /home/h; do sleep 0.01; done; echo v >/data/v")
	want := strings.Join([]string{"M /bin", "D /bin/sed", "A /data", "M /etc", "M /etc/passwd", "M /home", "A /home/h", "A /new", "A /new/y"}, "\n")
	if got := l.diff(id); got != want {
		t.Errorf("running:\n%s", got)
	}
	check := func(when string) {
		var b bytes.Buffer
		if err := l.Export(l.ctx(), id, &b); err != nil {
			t.Fatal(err)
		}
		files := entries(t, &b)
		_, sed := files["bin/sed"]
		_, volume := files["data/v"]
		if files["new/y"] != "x\n" || sed || volume || !strings.HasSuffix(files["etc/passwd"], "z\n") || files["bin/busybox"] == "" {
			t.Errorf("%s: y %q, sed %v, volume %v", when, files["new/y"], sed, volume)
		}
	}
	check("running")
	if err := l.Kill(l.ctx(), id, ""); err != nil {
		t.Fatal(err)
	}
	l.ended(id)
	check("ended")
	if got := l.diff(id); got != want {
		t.Errorf("ended:\n%s", got)
	}
	if got := l.diff(l.create(request("fresh", "true"))); got != "" {
		t.Errorf("a fresh one: %s", got)
	}
}

func TestCopy(t *testing.T) {
	l := openLab(t)
	host := t.TempDir()
	r := request("one", "echo ready; sleep 1000")
	r.Spec.Mounts = []*api.Mount{
		{Type: api.Mount_VOLUME, Source: "vol", Target: "/data"}, {Type: api.Mount_BIND, Source: host, Target: "/host", ReadOnly: true},
		{Type: api.Mount_TMPFS, Target: "/scratch"},
	}
	id := l.run(r)
	copyTo := func(dir, name, body string, ids bool) error {
		return l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: "one", Path: dir, CopyIds: ids}, oneFile(name, body))
	}
	read := func(path string) string {
		var b bytes.Buffer
		if err := l.CopyFrom(l.ctx(), "one", path, true, &b); err != nil {
			return err.Error()
		}
		return entries(t, &b)[filepath.Base(path)]
	}
	check := func(when string, dirs ...string) {
		for _, dir := range dirs {
			if err := copyTo(dir, "f", when, false); err != nil {
				t.Errorf("%s: to %s: %v", when, dir, err)
			}
			if got := read(dir + "/f"); got != when {
				t.Errorf("%s: from %s: %q", when, dir, got)
			}
		}
		if err := copyTo("/host", "f", "x", false); !errors.Is(err, ErrPrecondition) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("%s: to a read-only mount: %v", when, err)
		}
		if err := copyTo("/nope", "f", "x", false); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: to nothing: %v", when, err)
		}
		if err := copyTo("/etc/passwd", "f", "x", false); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: into a file: %v", when, err)
		}
		if _, err := l.StatPath(l.ctx(), "one", "/nope", false); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", when, err)
		}
		st, err := l.StatPath(l.ctx(), "one", "/bin/sh", false)
		if err != nil || st.Name != "sh" || fs.FileMode(st.Mode)&fs.ModeSymlink == 0 || st.LinkTarget != "busybox" {
			t.Errorf("%s: %v, %v", when, st, err)
		}
	}
	check("running", "/root", "/data", "/scratch", "/tmp")
	if err := copyTo("/", "owned", "x", true); err != nil {
		t.Fatal(err)
	}
	if got := l.exec(id, "cat /data/f /scratch/f; stat -c %u:%g /root/f /owned"); got != "runningrunning0:0\n1000:1000\n" {
		t.Errorf("inside: %q", got)
	}
	// What the start mounted is written in place.
	if err := copyTo("/etc", "hostname", "other\n", false); err != nil || l.exec(id, "cat /etc/hostname") != "other\n" {
		t.Errorf("to what is mounted: %v", err)
	}
	if got := l.exec(id, "grep -c ' /etc/hostname ' /proc/mounts"); got != "1\n" {
		t.Errorf("/etc/hostname is mounted %q times after a copy to it", got)
	}
	if err := l.Pause(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	check("paused", "/root", "/data")
	if err := l.Kill(l.ctx(), id, ""); err != nil {
		t.Fatal(err)
	}
	l.ended(id)
	check("ended", "/root", "/data")
	if entries, err := os.ReadDir(host); err != nil || len(entries) != 0 {
		t.Errorf("the host's directory holds %v, %v", entries, err)
	}
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	if got := l.exec(id, "cat /root/f /data/f"); got != "endedended" {
		t.Errorf("after the next start: %q", got)
	}
}

// A container cannot use its copies to reach the host, neither by links nor by mounts of its own making.
func TestCopyStaysInside(t *testing.T) {
	l := openLab(t)
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/secret", []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 16)
	id := l.run(request("one", "ln -s "+outside+" /abs; ln -s "+up+outside[1:]+" /rel; ln -s /proc/self/root /magic; ln -s "+outside+"/secret /file; echo ready; sleep 1000"))
	l.exec(id, "while ! test -L /file; do sleep 0.01; done")
	try := func(when string) {
		for _, p := range []string{"/abs", "/abs/secret", "/rel/", "/rel/secret", "/file", "/magic" + outside, up + outside, "/proc/1/root" + outside, "/proc/self/cwd" + outside} {
			if err := l.CopyFrom(l.ctx(), id, p, true, io.Discard); err == nil {
				t.Errorf("%s: %s was read", when, p)
			}
			l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: id, Path: p}, oneFile("planted", "x"))
		}
		l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: id, Path: "/"}, oneFile("abs/planted", "x"))
		l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: id, Path: "/"}, oneFile("../../../.."+outside+"/planted", "x"))
	}
	try("running")
	if err := l.Kill(l.ctx(), id, ""); err != nil {
		t.Fatal(err)
	}
	l.ended(id)
	try("ended")
	files, err := os.ReadDir(outside)
	body, _ := os.ReadFile(outside + "/secret")
	if err != nil || len(files) != 1 || string(body) != "s" {
		t.Errorf("outside there is %v %q, %v", files, body, err)
	}
}

// Copies have the owners that the container sees, also where the host sees others.
func TestCopyOwnUsers(t *testing.T) {
	l := openLab(t)
	r := request("one", "echo ready; sleep 1000")
	r.Spec.UsernsMode = "auto"
	r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Source: "vol", Target: "/data"}}
	id := l.run(r)
	check := func(when string) {
		for _, dir := range []string{"/root", "/data"} {
			for name, ids := range map[string]bool{"root": false, "bob": true} {
				if err := l.CopyTo(l.ctx(), &api.CopyToRequest{Ref: id, Path: dir, CopyIds: ids}, oneFile(when+name, "x")); err != nil {
					t.Errorf("%s: to %s: %v", when, dir, err)
				}
				var b bytes.Buffer
				if err := l.CopyFrom(l.ctx(), id, dir+"/"+when+name, false, &b); err != nil {
					t.Errorf("%s: from %s: %v", when, dir, err)
					continue
				}
				if h, err := tar.NewReader(&b).Next(); err != nil || (h.Uid == 1000) != ids || h.Gid != h.Uid {
					t.Errorf("%s: from %s: %+v, %v", when, dir, h, err)
				}
			}
		}
	}
	check("running")
	if err := l.Kill(l.ctx(), id, ""); err != nil {
		t.Fatal(err)
	}
	check("ended")
	if got := l.diff(id); strings.Contains(got, "/etc") || !strings.Contains(got, "A /root/endedbob") {
		t.Errorf("diff:\n%s", got)
	}
	if err := l.Start(l.ctx(), id); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("1000:1000 0:0 1000:1000 0:0 ", 2)
	if got := l.exec(id, "stat -c %u:%g /root/* /data/* | tr '\\n' ' '"); got != want {
		t.Errorf("inside: %q", got)
	}
}
