package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlaceCopy(t *testing.T) {
	file, dir := copyEnd{path: "src", exists: true}, copyEnd{path: "src", exists: true, dir: true}
	missing := func(p string) copyEnd { return copyEnd{path: p} }
	for _, tc := range []struct {
		src, dst       copyEnd
		dir, base, err string
	}{
		{file, missing("/a/new"), "/a/", "new", ""},
		{file, missing("/a/new/"), "", "", "no such directory"},
		{file, copyEnd{"/a/f", true, false}, "/a/", "f", ""},
		{file, copyEnd{"/a", true, true}, "/a", "", ""},
		{file, missing("new"), ".", "new", ""},
		{dir, missing("/a/new"), "/a/", "new", ""},
		{dir, missing("/a/new/"), "/a/", "new", ""},
		{dir, missing("/a/new/."), "/a/", "new", ""},
		{dir, copyEnd{"/a/f", true, false}, "", "", "cannot copy a directory over a file"},
		{dir, copyEnd{"/a", true, true}, "/a", "", ""},
		{dir, copyEnd{".", true, true}, ".", "", ""},
	} {
		gotDir, gotBase, err := placeCopy(tc.src, tc.dst, path.Split)
		if gotDir != tc.dir || gotBase != tc.base || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%v to %v: %q %q %v", tc.src, tc.dst, gotDir, gotBase, err)
		}
	}
}

func TestSplitCopyArg(t *testing.T) {
	for arg, want := range map[string][2]string{
		"web:/etc": {"web", "/etc"}, "/tmp/a:b": {"", "/tmp/a:b"}, "./a:b": {"", "./a:b"}, "../a:b": {"", "../a:b"}, "plain": {"", "plain"}, "-": {"", "-"},
		"web:rel/a:b": {"web", "rel/a:b"},
	} {
		if c, p := splitCopyArg(arg); c != want[0] || p != want[1] {
			t.Errorf("%s: %q %q", arg, c, p)
		}
	}
}

// testTar makes an archive of "name/" and "name:content" and "name -> target".
func testTar(t *testing.T, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h, body := &tar.Header{Typeflag: tar.TypeDir, Name: e, Mode: 0o755}, ""
		if name, to, ok := strings.Cut(e, " -> "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, to
		} else if !strings.HasSuffix(e, "/") {
			h.Name, body, _ = strings.Cut(e, ":")
			h.Typeflag, h.Size, h.Mode = tar.TypeReg, int64(len(body)), 0o640
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
	return b.Bytes()
}

func tarNames(t *testing.T, b []byte) string {
	t.Helper()
	var out []string
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return strings.Join(out, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h.Name)
	}
}

func TestCopyFrom(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	f.containers.archive = testTar(t, "etc/", "etc/a:1", "etc/sub/", "etc/sub/b:2", "etc/l -> a")
	f.containers.stat = fs.ModeDir | 0o755
	for _, tc := range []struct{ dst, file string }{
		{dir, dir + "/etc/sub/b"}, {dir + "/new", dir + "/new/sub/b"}, {dir + "/slash/", dir + "/slash/sub/b"},
	} {
		r := f.run(t, "", "cp", "web:/etc", tc.dst)
		if b, err := os.ReadFile(tc.file); r.code != 0 || err != nil || string(b) != "2" {
			t.Errorf("%s: %+v, %v", tc.dst, r, err)
		}
	}
	if r := f.run(t, "", "cp", "web:/etc", dir+"/new/a"); !strings.Contains(r.err, "cannot copy a directory over a file") {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "", "cp", "web:/etc", dir+"/none/x"); !strings.Contains(r.err, "does not exist") {
		t.Errorf("%+v", r)
	}
	r := f.run(t, "", "container", "cp", "web:/etc", "-")
	if tarNames(t, []byte(r.out)) != "etc/ etc/a etc/sub/ etc/sub/b etc/l" {
		t.Errorf("%q %q", r.out, r.err)
	}
	f.containers.archive, f.containers.stat = testTar(t, "a:file"), 0o640
	if err := os.Symlink("target", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/target", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := f.run(t, "", "cp", "web:/etc/a", dir+"/link"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if b, err := os.ReadFile(dir + "/target"); err != nil || string(b) != "file" {
		t.Errorf("%q, %v: what a link points to is replaced", b, err)
	}
}

// TestCopyFromHostile: an archive cannot leave the directory that it is unpacked into.
func TestCopyFromHostile(t *testing.T) {
	f := newFake(t)
	f.containers.stat = fs.ModeDir | 0o755
	outside := t.TempDir()
	for _, entries := range [][]string{
		{"d/", "d/l -> " + outside, "d/l/x:1"}, {"d/", "../x:1"}, {"d/", "d/../../x:1"}, {"d/", outside + "/x:1"}, {"d/", "d/l -> ../..", "d/l/x:1"},
	} {
		f.containers.archive = testTar(t, entries...)
		dir := filepath.Join(t.TempDir(), "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		f.run(t, "", "cp", "web:/d", dir)
		for _, p := range []string{outside, filepath.Dir(dir)} {
			if list, err := os.ReadDir(p); err != nil || len(list) > 1 || len(list) == 1 && list[0].Name() != "in" {
				t.Errorf("%q wrote to %s: %v, %v", entries, p, list, err)
			}
		}
	}
}

// TestCopyFromCutOff loses the daemon in the middle of a file: what was there stays, and nothing half made has come.
func TestCopyFromCutOff(t *testing.T) {
	f := newFake(t)
	f.containers.stat = fs.ModeDir | 0o755
	whole := testTar(t, "d/", "d/first:1", "d/second:"+strings.Repeat("x", 100<<10))
	f.containers.archive = whole[:len(whole)/2]
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/second", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []string{dir, dir + "/fresh"} {
		if r := f.run(t, "", "cp", "web:/d/.", dst); r.code == 0 || strings.Count(r.err, "\n") != 1 {
			t.Errorf("a copy that was cut off: %+v", r)
		}
	}
	for p, want := range map[string]string{"d/first": "1", "fresh/first": "1", "second": "old"} {
		if b, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	for sub, want := range map[string]int{".": 3, "d": 1, "fresh": 1} {
		if list, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(list) != want {
			t.Errorf("%s holds %v, want %d names (%v)", sub, list, want, err)
		}
	}
}

// TestCopyToDevice: what is no file is not replaced by one.
func TestCopyToDevice(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	f.containers.archive, f.containers.stat = testTar(t, "a:file"), 0o640
	if err := os.Symlink(os.DevNull, dir+"/null"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"cp web:/a " + dir + "/null", "export web -o " + dir + "/null", "save box -o " + dir + "/null"} {
		if r := f.run(t, "", strings.Fields(args)...); r.code == 0 || !strings.Contains(r.err, "must be a directory or a regular file") {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := f.run(t, "", "export", "web", "-o", dir+"/link"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if b, err := os.ReadFile(dir + "/file"); err != nil || tarNames(t, b) != "a" {
		t.Errorf("%q, %v: what a link points to is written", b, err)
	}
}

func TestCopyTo(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	for _, d := range []string{"src/sub", "plain"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"src/a", "src/sub/b", "file"} {
		if err := os.WriteFile(filepath.Join(dir, p), []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("src", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ src, dst, path, names, flags string }{
		{"src", "/there", "/there", "src/ src/a src/sub/ src/sub/b", ""},
		{"src/.", "/there", "/there", "./ ./a ./sub/ ./sub/b", ""},
		{"src", "/missing", "/", "missing/ missing/a missing/sub/ missing/sub/b", ""},
		{"src/.", "/there/missing/", "/there/", "missing/ missing/a missing/sub/ missing/sub/b", ""},
		{"file", "/there", "/there", "file", ""},
		{"file", "/there/missing", "/there/", "missing", ""},
		{"file", "/afile", "/", "afile", ""},
		{"link", "/there", "/there", "link", ""},
		{"link", "/there", "/there", "link/ link/a link/sub/ link/sub/b", "-L"},
		{"link/", "/there", "/there", "link/ link/a link/sub/ link/sub/b", ""},
		{"file", "/alink", "/there", "file", "-a"},
	} {
		f.containers.copied.Reset()
		args := []string{"cp"}
		if tc.flags != "" {
			args = append(args, tc.flags)
		}
		r := f.run(t, "", append(args, dir+"/"+tc.src, "web:"+tc.dst)...)
		if r.code != 0 {
			t.Errorf("%v: %+v", tc, r)
			continue
		}
		got := f.containers.copyTo
		if got.Path != tc.path || got.CopyIds != (tc.flags == "-a") || !got.NoOverwriteDir {
			t.Errorf("%v: asked for %v", tc, got)
		}
		if diff := cmp.Diff(tc.names, tarNames(t, f.containers.copied.Bytes())); diff != "" {
			t.Errorf("%v: %s", tc, diff)
		}
	}
	f.containers.copied.Reset()
	if r := f.run(t, string(testTar(t, "x:1")), "cp", "-", "web:/there"); r.code != 0 || tarNames(t, f.containers.copied.Bytes()) != "x" || !f.containers.copyTo.CopyIds {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{
		"a b":                         "must specify at least one container source",
		"web:/a db:/b":                "copying between containers is not supported",
		"- web:/afile":                "must be a directory",
		dir + "/src web:/afile":       "cannot copy a directory over a file",
		dir + "/file web:/missing/":   "no such directory",
		dir + "/nope web:/there":      "no such file",
		dir + "/file gone:/there":     "no such container: gone",
		dir + "/file web:":            "no path given",
		dir + "/file web:/afile/wall": "disk is full",
	} {
		if r := f.run(t, "", append([]string{"cp"}, strings.Fields(args)...)...); r.code == 0 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %q", args, r.err)
		}
	}
}

func TestDiffAndExportCommands(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "diff", "web"); r.out != "C /etc\nA /etc/new\nD /bin/sed\n" {
		t.Errorf("%+v", r)
	}
	f.containers.archive = testTar(t, "a:1")
	file := t.TempDir() + "/out.tar"
	if r := f.run(t, "", "export", "-o", file, "web"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if b, err := os.ReadFile(file); err != nil || tarNames(t, b) != "a" {
		t.Errorf("%q, %v", b, err)
	}
	if r := f.run(t, "", "container", "export", "web"); tarNames(t, []byte(r.out)) != "a" {
		t.Errorf("%+v", r)
	}
}

// TestCopyNowhere: a variable that is not set must not send a file to wherever the program happens to be.
func TestCopyNowhere(t *testing.T) {
	f := newFake(t)
	for _, ends := range [][]string{{"web:/x", ""}, {"", "web:/x"}} {
		r := f.run(t, "", append([]string{"cp"}, ends...)...)
		if r.code != 1 || r.err != "shoal: the source and the destination cannot be empty\n" {
			t.Errorf("cp %q: %+v", ends, r)
		}
	}
}
