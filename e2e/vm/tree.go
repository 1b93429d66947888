//go:build linux

// Package vm boots real virtual machines under QEMU's emulation: another kernel than this machine's, with control groups
// of version 2 and nothing else. Its tests run the engine's own tests inside, and join machines to a cluster.
//
// A machine is Debian's cloud kernel (deploy/deps-vm.sh) and an initramfs that is made here: package init, busybox, the
// kernel's modules and whatever a test puts beside them. docs/testing.md tells how it works.
package vm

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree is a root file system: absolute paths without the first slash.
type tree map[string]entry

type entry struct {
	mode fs.FileMode
	link string // target of a symbolic link
	file string // where the content comes from, or
	text string // the content
}

func (t tree) dir(name string)                       { t.add(name, entry{mode: fs.ModeDir | 0o755}) }
func (t tree) text(name, text string)                { t.add(name, entry{mode: 0o644, text: text}) }
func (t tree) link(name, to string)                  { t.add(name, entry{mode: fs.ModeSymlink | 0o777, link: to}) }
func (t tree) copy(name, from string, m fs.FileMode) { t.add(name, entry{mode: m, file: from}) }
func (t tree) program(name, from string)             { t.copy(name, from, 0o755) }

// add makes the directories above as well.
func (t tree) add(name string, e entry) {
	if up := path.Dir(name); up != "." {
		if _, ok := t[up]; !ok {
			t.dir(up)
		}
	}
	t[name] = e
}

// all copies the files below a directory.
func (t tree) all(name, from string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		t.copy(path.Join(name, rel), p, 0o644)
		return err
	})
}

// write makes a cpio archive in the form "newc", which the kernel unpacks: for each file a header of hexadecimal numbers,
// its name and its content, each padded to four bytes.
func (t tree) write(to string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &archive{w: bufio.NewWriterSize(f, 1<<20)}
	for i, name := range slices.Sorted(maps.Keys(t)) { // a directory sorts before what is in it
		if err := w.entry(i+1, name, t[name]); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.header(0, "TRAILER!!!", 0, 0); err != nil {
		return err
	}
	return w.w.Flush()
}

type archive struct{ w *bufio.Writer }

func (a *archive) entry(inode int, name string, e entry) error {
	switch {
	case e.file != "":
		return a.file(inode, name, e)
	case e.link != "":
		return a.body(inode, name, e.mode, strings.NewReader(e.link), int64(len(e.link)))
	}
	return a.body(inode, name, e.mode, strings.NewReader(e.text), int64(len(e.text)))
}

func (a *archive) file(inode int, name string, e entry) error {
	f, err := os.Open(e.file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return a.body(inode, name, e.mode, f, st.Size())
}

func (a *archive) body(inode int, name string, mode fs.FileMode, r io.Reader, size int64) error {
	if err := a.header(inode, name, unixMode(mode), size); err != nil {
		return err
	}
	if _, err := io.CopyN(a.w, r, size); err != nil {
		return err
	}
	return a.pad(size)
}

func (a *archive) header(inode int, name string, mode uint32, size int64) error {
	n := int64(len(name) + 1)
	_, err := fmt.Fprintf(a.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, n, 0, name)
	if err != nil {
		return err
	}
	return a.pad(110 + n)
}

func (a *archive) pad(n int64) error {
	_, err := a.w.Write(make([]byte, (4-n%4)%4))
	return err
}

func unixMode(m fs.FileMode) uint32 {
	kind := uint32(0o100000)
	switch {
	case m.IsDir():
		kind = 0o040000
	case m&fs.ModeSymlink != 0:
		kind = 0o120000
	}
	return kind | uint32(m.Perm())
}
