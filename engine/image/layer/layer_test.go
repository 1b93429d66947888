//go:build linux

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func needRoot(t testing.TB) {
	if os.Getuid() != 0 {
		t.Skip("unpacking needs root: owners, devices, trusted attributes")
	}
}

func archive(t testing.TB, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Size = h.Uname, int64(len(h.Uname)) // the tests put content there
			h.Uname = ""
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1e9, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Uname: content}
}
func dir(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
func sym(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}
func hard(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
}

// shape describes a tree, one line an entry.
func shape(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		var v [1]byte
		line := rel
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			line += "/"
			if n, _ := unix.Lgetxattr(p, opaqueXattr, v[:]); n > 0 {
				line += " opaque"
			}
		case unix.S_IFLNK:
			to, _ := os.Readlink(p)
			line += " -> " + to
		case unix.S_IFCHR:
			line += fmt.Sprintf(" c %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFIFO:
			line += " |"
		case unix.S_IFREG:
			b, _ := os.ReadFile(p)
			line += " = " + string(b)
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestShapes(t *testing.T) {
	needRoot(t)
	tests := map[string]struct {
		in   []tar.Header
		want []string
	}{
		"plain":                   {[]tar.Header{dir("./"), dir("a/"), file("a/b", "x"), sym("l", "/etc/passwd")}, []string{"a/", "a/b = x", "l -> /etc/passwd"}},
		"missing parents":         {[]tar.Header{file("a/b/c", "x")}, []string{"a/", "a/b/", "a/b/c = x"}},
		"absolute names":          {[]tar.Header{file("/a", "x")}, []string{"a = x"}},
		"whiteout":                {[]tar.Header{dir("d"), file("d/.wh.gone", "")}, []string{"d/", "d/gone c 0:0"}},
		"opaque":                  {[]tar.Header{dir("d"), file("d/.wh..wh..opq", ""), file("d/f", "x")}, []string{"d/ opaque", "d/f = x"}},
		"file after whiteout":     {[]tar.Header{file(".wh.f", ""), file("f", "x")}, []string{"f = x"}},
		"whiteout after file":     {[]tar.Header{file("f", "x"), file(".wh.f", "")}, []string{"f = x"}},
		"dir after whiteout":      {[]tar.Header{file(".wh.d", ""), dir("d"), file("d/f", "x")}, []string{"d/ opaque", "d/f = x"}},
		"whiteout after dir":      {[]tar.Header{dir("d"), file("d/f", "x"), file(".wh.d", "")}, []string{"d/ opaque", "d/f = x"}},
		"aufs bookkeeping":        {[]tar.Header{dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs", "")}, nil},
		"hard link":               {[]tar.Header{file("a", "x"), dir("d"), hard("d/b", "a")}, []string{"a = x", "d/", "d/b = x"}},
		"replaced":                {[]tar.Header{file("a", "1"), file("a", "2"), dir("d"), file("d/x", ""), file("d", "file now")}, []string{"a = 2", "d = file now"}},
		"dir keeps content":       {[]tar.Header{dir("d"), file("d/f", "x"), dir("d")}, []string{"d/", "d/f = x"}},
		"dir replaced, then used": {[]tar.Header{dir("d"), dir("d/e"), file("d/e/f", "x"), file("d", "1"), dir("d"), file("d/g", "y")}, []string{"d/", "d/g = y"}},
		"file for a dir, deep":    {[]tar.Header{dir("a"), dir("a/d"), file("a/d/x", "1"), file("a/d", "now"), file("a/e", "y")}, []string{"a/", "a/d = now", "a/e = y"}},
		"dir for a link":          {[]tar.Header{dir("real"), sym("l", "real"), file("l/f", "x"), dir("l"), file("l/g", "y")}, []string{"l/", "l/g = y", "real/", "real/f = x"}},
		"link stays inside":       {[]tar.Header{dir("real"), sym("l", "/real"), file("l/f", "x"), sym("up", "../../../real"), file("up/g", "y")}, []string{"l -> /real", "real/", "real/f = x", "real/g = y", "up -> ../../../real"}},
		"devices":                 {[]tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, {Typeflag: tar.TypeFifo, Name: "p"}}, []string{"null c 1:3", "p |"}},
		"dots in the middle":      {[]tar.Header{dir("a"), file("a/../b", "x"), file("./a/./c", "y")}, []string{"a/", "a/c = y", "b = x"}},
		"long path":               {[]tar.Header{file(strings.Repeat("d/", 120)+strings.Repeat("n", 200), "x")}, longShape()},
		"global header":           {[]tar.Header{{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "c"}}, file("a", "x")}, []string{"a = x"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if _, err := Extract(t.Context(), archiveAny(t, tc.in), root); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, shape(t, root)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// archiveAny also writes global headers, which take no mode or time.
func archiveAny(t testing.TB, hs []tar.Header) *bytes.Buffer {
	if len(hs) == 0 || hs[0].Typeflag != tar.TypeXGlobalHeader {
		return archive(t, hs...)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&hs[0]); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	b.Write(archive(t, hs[1:]...).Bytes())
	return &b
}

func longShape() []string {
	var out []string
	for i := 1; i <= 120; i++ {
		out = append(out, strings.Repeat("d/", i))
	}
	return append(out, strings.Repeat("d/", 120)+strings.Repeat("n", 200)+" = x")
}

func TestRefused(t *testing.T) {
	needRoot(t)
	tests := map[string]struct {
		in   []tar.Header
		want string
	}{
		"name":           {[]tar.Header{file("../evil", "x")}, "outside"},
		"deeper":         {[]tar.Header{file("a/../../evil", "x")}, "outside"},
		"hard link":      {[]tar.Header{hard("l", "../../etc/passwd")}, "outside"},
		"hard link abs":  {[]tar.Header{hard("l", "/etc/passwd")}, "no such file"},
		"through a link": {[]tar.Header{sym("e", "/etc"), hard("l", "e/passwd")}, "no such file"},
		"whiteout dots":  {[]tar.Header{dir("d"), file("d/.wh...", "")}, "whiteout"},
		"empty whiteout": {[]tar.Header{file(".wh.", "")}, "whiteout"},
		"device 4096:0":  {[]tar.Header{{Typeflag: tar.TypeChar, Name: "c", Devmajor: 4096, Format: tar.FormatGNU}}, "no device"},
		"device 0:0":     {[]tar.Header{{Typeflag: tar.TypeChar, Name: "c"}}, "0:0"},
		"overlay xattr":  {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc"}}}, "overlayfs"},
		"root as file":   {[]tar.Header{file(".", "x")}, "root"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			root := filepath.Join(outer, "in", "root")
			if err := os.MkdirAll(root, 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := Extract(t.Context(), archive(t, tc.in...), root)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
			if diff := cmp.Diff([]string{"in/", "in/root/"}, shape(t, outer)[:2]); diff != "" || len(entries(t, outer)) != 1 {
				t.Error("something was written outside")
			}
		})
	}
}

func entries(t testing.TB, dir string) []os.DirEntry {
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestAttributes(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	old := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	// A version 2 capability set with CAP_NET_BIND_SERVICE.
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	in := archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o1750, Uid: 3, Gid: 4, ModTime: old, Format: tar.FormatPAX},
		tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o4755, Uid: 70000, Gid: 2, ModTime: old, Format: tar.FormatPAX, Uname: "x",
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "n"}},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: "nowhere", Uid: 9, Gid: 9, ModTime: old, Format: tar.FormatPAX})
	if n, err := Extract(t.Context(), in, root); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	for _, tc := range []struct {
		name     string
		uid, gid uint32
		mode     uint32
	}{{"d", 3, 4, 0o1750}, {"d/f", 70000, 2, 0o4755}, {"d/l", 9, 9, 0o777}} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, tc.name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != tc.uid || st.Gid != tc.gid || st.Mode&0o7777 != tc.mode {
			t.Errorf("%s: %d:%d %o", tc.name, st.Uid, st.Gid, st.Mode&0o7777)
		}
		if got := time.Unix(st.Mtim.Sec, st.Mtim.Nsec); !got.Equal(old) {
			t.Errorf("%s: modified %s", tc.name, got)
		}
	}
	v := make([]byte, 64)
	if n, err := unix.Lgetxattr(filepath.Join(root, "d/f"), "security.capability", v); err != nil || string(v[:n]) != capability {
		t.Errorf("capability %q, %v", v[:max(n, 0)], err)
	}
}

func TestTruncatedArchive(t *testing.T) {
	needRoot(t)
	b := archive(t, file("a", strings.Repeat("x", 5000))).Bytes()
	if _, err := Extract(t.Context(), bytes.NewReader(b[:3000]), t.TempDir()); err == nil {
		t.Error("half an archive was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Extract(ctx, bytes.NewReader(b), t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzEntries lays random names, links and types into a layer and looks whether anything appears outside of it.
func FuzzEntries(f *testing.F) {
	needRoot(f)
	f.Add("a/b", "../../x", "l/evil", byte(tar.TypeSymlink), byte(tar.TypeReg))
	f.Add("l", "/", "l/etc", byte(tar.TypeSymlink), byte(tar.TypeDir))
	f.Add("d/.wh..wh..opq", "", "d/.wh...", byte(tar.TypeReg), byte(tar.TypeReg))
	f.Add("../x", "..", "x/../..", byte(tar.TypeDir), byte(tar.TypeLink))
	f.Add(".", ".", "./.", byte(tar.TypeSymlink), byte(tar.TypeFifo))
	f.Fuzz(func(t *testing.T, name1, link, name2 string, type1, type2 byte) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{{Name: name1, Linkname: link, Typeflag: type1}, {Name: name2, Linkname: link, Typeflag: type2}, {Name: name1 + "/x", Typeflag: tar.TypeReg}} {
			h.Format, h.Mode = tar.FormatPAX, 0o644
			if w.WriteHeader(&h) != nil {
				return // no such archive can be written
			}
		}
		w.Close()
		outer := t.TempDir()
		canary := filepath.Join(outer, "canary")
		root := filepath.Join(outer, "root")
		if err := errors.Join(os.WriteFile(canary, []byte("c"), 0o600), os.Mkdir(root, 0o700)); err != nil {
			t.Fatal(err)
		}
		before := stat(t, canary)
		Extract(t.Context(), &b, root) // an error is a fine answer
		if es := entries(t, outer); len(es) != 2 {
			t.Errorf("beside the layer: %v", es)
		}
		if diff := cmp.Diff(before, stat(t, canary)); diff != "" {
			t.Error(diff)
		}
	})
}

type facts struct {
	Mode  uint32
	Links uint64
	Size  int64
	Mtime int64
}

func stat(t *testing.T, p string) facts {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatal(err)
	}
	return facts{st.Mode, uint64(st.Nlink), st.Size, st.Mtim.Nano()}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", ".", "..", "/..", "a/../..", "/a//b/", "../a", "a/./b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := clean(s)
		if err == nil && (strings.HasPrefix(got, "/") || got == ".." || strings.HasPrefix(got, "../") || strings.Contains(got, "/../")) {
			t.Errorf("clean(%q) = %q", s, got)
		}
	})
}

// Ten kilobytes of an archive name a file of half a terabyte: it takes no disk, and who waits can stop it.
func TestSparseFile(t *testing.T) {
	needRoot(t)
	archive := sparseArchive(1 << 39)
	root := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Extract(ctx, bytes.NewReader(archive), root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped: %v", err)
	}
	root = t.TempDir()
	if n, err := Extract(t.Context(), bytes.NewReader(sparseArchive(1<<26)), root); err != nil || n != 1<<26 {
		t.Fatal(n, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "big"), &st); err != nil || st.Size != 1<<26 || st.Blocks > 1024 {
		t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	text, err := os.ReadFile(filepath.Join(root, "big"))
	if err != nil || string(text[:3]) != "abc" || text[3] != 0 || text[len(text)-1] != 0 {
		t.Errorf("its content: %q, %v", text[:4], err)
	}
}

// sparseArchive is one in GNU's old format of a file that is a hole but for its first block.
func sparseArchive(size int64) []byte {
	h := make([]byte, 512)
	copy(h, "big")
	copy(h[100:], "0000644\x000000000\x000000000\x0000000001000\x0000000000000\x00")
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	copy(h[386:], "00000000000\x0000000001000\x00")
	copy(h[422:], "00000000000\x00") // an empty piece at its end
	big := func(at int, v int64) {
		h[at] = 0x80
		for i := range 8 {
			h[at+11-i] = byte(v >> (8 * i))
		}
	}
	big(410, size)
	big(483, size)
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	block := make([]byte, 512)
	copy(block, "abc")
	return append(append(h, block...), make([]byte, 1024)...)
}
