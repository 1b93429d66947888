package main

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/shoal-dev/shoal/internal/sparse"
)

// unpacker unpacks a container's archive into a local directory, which nothing in the archive leads out of.
type unpacker struct {
	ctx  context.Context
	root *os.Root
	base string // instead of the first part of every name, unless empty
	ids  bool
	dirs []*tar.Header
	warn func(string)
	buf  []byte
}

// unpack reads all of an archive. Entries are renamed so that they begin with base, unless that is empty.
func (c *cli) unpack(ctx context.Context, r io.Reader, dir, base string, ids bool) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("invalid output path: directory %q does not exist", filepath.Clean(dir))
	}
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{ctx: ctx, root: root, base: base, ids: ids, warn: func(s string) { c.warn([]string{s}) }, buf: make([]byte, 128<<10)}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if isEOF(err) {
			return u.finish()
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return err
		}
	}
}

// rename puts base in the place of the first part of a name.
func (u *unpacker) rename(name string) string {
	if u.base == "" {
		return path.Clean(name)
	}
	_, rest, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	return path.Join(u.base, rest)
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name := u.rename(h.Name)
	if name == "." {
		return nil
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	isDir := h.Typeflag == tar.TypeDir
	if old, err := u.root.Lstat(name); err == nil {
		switch {
		case old.IsDir() && !isDir:
			return fmt.Errorf("cannot overwrite directory %q with non-directory", name)
		case !old.IsDir() && isDir:
			return fmt.Errorf("cannot overwrite non-directory %q with directory", name)
		}
	}
	if isDir {
		return u.mkdir(h, name)
	}
	return u.whole(h, name, content)
}

func (u *unpacker) mkdir(h *tar.Header, name string) error {
	if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	later := *h
	later.Name = name
	u.dirs = append(u.dirs, &later)
	return u.owner(h, name)
}

// whole makes a file beside its name and renames it: a copy that is cut off leaves what was there.
func (u *unpacker) whole(h *tar.Header, name string, content io.Reader) error {
	beside := path.Join(path.Dir(name), ".shoal-cp-"+rand.Text()[:12])
	made, err := u.make(h, beside, content)
	if !made && err == nil {
		return nil
	}
	defer u.root.Remove(beside) // what failed, or a second name of the same file, which a rename leaves
	if err == nil && h.Typeflag != tar.TypeLink {
		err = u.owner(h, beside)
	}
	if err == nil && h.Typeflag == tar.TypeReg {
		err = u.modeAndTimes(h, beside)
	}
	if err != nil {
		return naming(err, beside, name)
	}
	return u.root.Rename(beside, name)
}

// naming puts the name that a person knows into an error.
func naming(err error, beside, name string) error {
	var p *fs.PathError
	if errors.As(err, &p) && strings.HasSuffix(filepath.ToSlash(p.Path), beside) {
		return &fs.PathError{Op: p.Op, Path: name, Err: p.Err}
	}
	return err
}

func (u *unpacker) make(h *tar.Header, name string, content io.Reader) (made bool, err error) {
	switch h.Typeflag {
	case tar.TypeReg:
		f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return false, err
		}
		_, err = sparse.Copy(u.ctx, f, content, u.buf)
		return true, errors.Join(err, f.Close())
	case tar.TypeSymlink:
		return true, u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return true, u.root.Link(u.rename(h.Linkname), name)
	}
	u.warn(fmt.Sprintf("%s is a device or a pipe and was left out", u.rename(h.Name)))
	return false, nil
}

func (u *unpacker) owner(h *tar.Header, name string) error {
	if !u.ids {
		return nil
	}
	return u.root.Lchown(name, h.Uid, h.Gid)
}

func (u *unpacker) modeAndTimes(h *tar.Header, name string) error {
	if err := u.root.Chmod(name, h.FileInfo().Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return err
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime)
}

func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		if err := u.modeAndTimes(u.dirs[i], u.dirs[i].Name); err != nil {
			return err
		}
	}
	return nil
}
