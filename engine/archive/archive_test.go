//go:build linux

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func needRoot(t testing.TB) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root to make device files and set owners: run `make test` as root")
	}
}

// tree makes a directory: "dir/" is a directory, "a -> b" a link, "a = b" a hard link, "-a" a whiteout, else a file.
func tree(t *testing.T, entries ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range entries {
		var err error
		if name, ok := strings.CutSuffix(e, "/"); ok {
			err = os.MkdirAll(filepath.Join(root, name), 0o755)
		} else if name, to, ok := strings.Cut(e, " -> "); ok {
			err = os.Symlink(to, filepath.Join(root, name))
		} else if name, to, ok := strings.Cut(e, " = "); ok {
			err = os.Link(filepath.Join(root, to), filepath.Join(root, name))
		} else if name, ok := strings.CutPrefix(e, "-"); ok {
			err = unix.Mknod(filepath.Join(root, name), unix.S_IFCHR, 0)
		} else {
			name, body, _ := strings.Cut(e, ":")
			err = os.WriteFile(filepath.Join(root, name), []byte(body), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t *testing.T, dir string) *Root {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// list names what a tar holds.
func list(t *testing.T, in io.Reader) []string {
	t.Helper()
	var out []string
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(tr)
		line := h.Name
		switch h.Typeflag {
		case tar.TypeSymlink:
			line += " -> " + h.Linkname
		case tar.TypeLink:
			line += " = " + h.Linkname
		case tar.TypeReg:
			line += ":" + string(body)
		}
		out = append(out, line)
	}
}

func TestWrite(t *testing.T) {
	r := open(t, tree(t, "d/", "d/a:1", "d/b = d/a", "d/sub/", "d/sub/c:22", "d/l -> a", "to -> d", "out -> /../d"))
	all := []string{"/", "/a:1", "/b = d/a", "/l -> a", "/sub/", "/sub/c:22"}
	as := func(base string) []string {
		var out []string
		for _, e := range all {
			out = append(out, base+strings.Replace(e, "d/a", base+"/a", 1))
		}
		return out
	}
	for _, tc := range []struct {
		path   string
		follow bool
		want   []string
	}{
		{"/d", false, as("d")},
		{"d/", false, as("d")},
		{"/d/.", false, as(".")},
		{"/to", false, []string{"to -> d"}},
		{"/to", true, as("to")},
		{"/to/", false, as("to")},
		{"/out", true, as("out")}, // an absolute link leads to the root's own
		{"/d/a", false, []string{"a:1"}},
		{"/d/l", true, []string{"l:1"}},
		{"/../../d/a", false, []string{"a:1"}},
	} {
		var b bytes.Buffer
		if err := r.Write(context.Background(), tc.path, tc.follow, &b); err != nil {
			t.Errorf("%s: %v", tc.path, err)
			continue
		}
		if diff := cmp.Diff(tc.want, list(t, &b)); diff != "" {
			t.Errorf("%s:\n%s", tc.path, diff)
		}
	}
	if err := r.Write(context.Background(), "/nope", false, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if err := r.Write(context.Background(), "/d/a/", false, io.Discard); !errors.Is(err, ErrNotDirectory) {
		t.Errorf("a file with a slash: %v", err)
	}
}

func TestStat(t *testing.T) {
	r := open(t, tree(t, "d/", "d/a:123", "l -> d/a"))
	got, err := r.Stat("/l", false)
	if err != nil || got.Name != "l" || got.Mode&fs.ModeSymlink == 0 || got.Link != "d/a" {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = r.Stat("/l", true)
	if err != nil || got.Name != "l" || got.Mode != 0o644 || got.Size != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

// tarOf makes an archive of the lines that list prints.
func tarOf(t testing.TB, entries ...string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Mode: 0o640, Uid: 7, Gid: 8}
		var body string
		if name, to, ok := strings.Cut(e, " -> "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, to
		} else if name, to, ok := strings.Cut(e, " = "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeLink, name, to
		} else if strings.HasSuffix(e, "/") {
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, e, 0o750
		} else {
			h.Name, body, _ = strings.Cut(e, ":")
			h.Typeflag, h.Size = tar.TypeReg, int64(len(body))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestExtract(t *testing.T) {
	needRoot(t)
	dir := tree(t, "to/", "to/old:1", "to/keep:2", "to/dir/", "to/dir/x:3", "link -> to")
	r := open(t, dir)
	err := r.Extract(context.Background(), "/link", tarOf(t, "./", "old:new", "dir/", "dir/y:4", "deep/er/z:5", "h = old", "s -> old"), ExtractOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Write(context.Background(), "/to", false, &b); err != nil {
		t.Fatal(err)
	}
	want := []string{"to/", "to/deep/", "to/deep/er/", "to/deep/er/z:5", "to/dir/", "to/dir/x:3", "to/dir/y:4", "to/h:new", "to/keep:2", "to/old = to/h", "to/s -> old"}
	if diff := cmp.Diff(want, list(t, &b)); diff != "" {
		t.Error(diff)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/to/old", &st); err != nil || st.Uid != 7 || st.Gid != 8 || st.Mode&0o777 != 0o640 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := r.Extract(context.Background(), "/to", tarOf(t, "mine:1"), ExtractOptions{Owner: &Owner{1000, 1001}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(dir+"/to/mine", &st); err != nil || st.Uid != 1000 || st.Gid != 1001 {
		t.Errorf("%+v, %v", st, err)
	}
	for entry, o := range map[string]ExtractOptions{"dir:file": {NoOverwrite: true}, "old/": {NoOverwrite: true}, "../x:1": {}, "a = ../../x": {}} {
		if err := r.Extract(context.Background(), "/to", tarOf(t, entry), o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", entry, err)
		}
	}
	if err := r.Extract(context.Background(), "/to/old", tarOf(t, "x:1"), ExtractOptions{}); !errors.Is(err, ErrNotDirectory) {
		t.Errorf("into a file: %v", err)
	}
	if err := r.Extract(context.Background(), "/none", tarOf(t, "x:1"), ExtractOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into nothing: %v", err)
	}
}

// Whatever links a container lays out, nothing outside of its root is read, written or changed.
func TestNothingEscapes(t *testing.T) {
	needRoot(t)
	outside := tree(t, "secret:s", "dir/")
	before := shape(t, outside)
	up := strings.Repeat("../", 20)
	dir := tree(t, "in/", "abs -> "+outside, "rel -> "+up+strings.TrimPrefix(outside, "/"), "file -> "+outside+"/secret", "in/loop -> loop", "in/proc -> /proc/self/root")
	r := open(t, dir)
	for _, p := range []string{"/abs", "/abs/", "/abs/secret", "/rel/secret", "/file", "/in/loop", up + outside + "/secret", "/in/proc/etc/passwd"} {
		if err := r.Write(context.Background(), p, true, io.Discard); err == nil {
			t.Errorf("%s was read", p)
		}
		if _, err := r.Stat(p, true); err == nil {
			t.Errorf("%s was looked at", p)
		}
		r.Extract(context.Background(), p, tarOf(t, "planted:x", "secret:x"), ExtractOptions{})
	}
	// An archive that brings its own link and then writes through it.
	for _, entries := range [][]string{
		{"l -> " + outside, "l/planted:x"}, {"l -> " + outside + "/secret", "l:x"}, {"abs/planted:x"}, {"rel/dir/planted:x"}, {"file:x"},
		{"h = abs/secret"}, {"h = file", "h:x"}, {"abs/dir/"},
	} {
		r.Extract(context.Background(), "/", tarOf(t, entries...), ExtractOptions{})
	}
	if diff := cmp.Diff(before, shape(t, outside)); diff != "" {
		t.Errorf("outside changed:\n%s", diff)
	}
}

// shape describes all files of a tree.
func shape(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		body, _ := os.ReadFile(p)
		out = append(out, p+" "+info.Mode().String()+" "+string(body))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A container that swaps what is being unpacked for a link wins nothing.
func TestSwapWhileExtracting(t *testing.T) {
	needRoot(t)
	outside := tree(t, "secret:s")
	if err := os.Chmod(outside+"/secret", 0o600); err != nil {
		t.Fatal(err)
	}
	dir := tree(t, "d/")
	r := open(t, dir)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			os.Remove(dir + "/d/f")
			os.Symlink(outside+"/secret", dir+"/d/f")
		}
	}()
	for range 300 {
		r.Extract(context.Background(), "/d", tarOf(t, "f:changed"), ExtractOptions{})
	}
	stop()
	<-done
	info, err := os.Stat(outside + "/secret")
	body, _ := os.ReadFile(outside + "/secret")
	if err != nil || info.Mode() != 0o600 || string(body) != "s" {
		t.Errorf("%v %q %v", info.Mode(), body, err)
	}
}

func opaque(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skip("SKIPPED: this file system has no trusted attributes: ", err)
	}
}

func TestChangesAndLayer(t *testing.T) {
	needRoot(t)
	lower := tree(t, "etc/", "etc/a:1", "etc/b:1", "bin/", "bin/x:1", "bin/y:1", "var/", "var/old:1", "var/kept:1", "same/", "same/f:1", "f:1")
	upper := tree(t, "etc/", "etc/a:changed", "-etc/b", "new/", "new/n:1", "var/", "var/kept:11", "same/", "-gone", "-bin", "f/", "hosts:")
	opaque(t, upper+"/var")
	hide := func(name string) bool { return name == "hosts" }
	got, err := Changes(upper, lower, Users{}, false, hide)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{Deleted, "/bin"}, {Modified, "/etc"}, {Modified, "/etc/a"}, {Deleted, "/etc/b"}, {Modified, "/f"}, {Added, "/new"}, {Added, "/new/n"},
		{Modified, "/var"}, {Modified, "/var/kept"}, {Deleted, "/var/old"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var b bytes.Buffer
	if err := WriteLayer(context.Background(), upper, Users{}, hide, &b); err != nil {
		t.Fatal(err)
	}
	lines := list(t, &b)
	wantLayer := []string{".wh.bin:", "etc/", "etc/a:changed", "etc/.wh.b:", "f/", ".wh.gone:", "new/", "new/n:1", "same/", "var/", "var/.wh..wh..opq:", "var/kept:11"}
	if diff := cmp.Diff(wantLayer, lines); diff != "" {
		t.Error(diff)
	}
	whole, err := Changes(tree(t, "etc/", "etc/a:22", "f:22"), tree(t, "etc/", "etc/a:1", "etc/b:1"), Users{}, true, hide)
	if err != nil || !slices.Equal(whole, []Change{{Modified, "/etc"}, {Modified, "/etc/a"}, {Deleted, "/etc/b"}, {Added, "/f"}}) {
		t.Errorf("%v, %v", whole, err)
	}
}
