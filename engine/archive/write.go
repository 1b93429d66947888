//go:build linux

package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// writer goes down a tree and writes what it finds.
type writer struct {
	ctx   context.Context
	tw    *tar.Writer
	links map[inode]string // hard links: where the file is in the archive already
	skip  func(name string) bool
	layer bool
	users Users
	buf   []byte
}

type inode struct{ dev, ino uint64 }

func newWriter(ctx context.Context, w io.Writer, skip func(string) bool) *writer {
	if skip == nil {
		skip = func(string) bool { return false }
	}
	return &writer{ctx: ctx, tw: tar.NewWriter(w), links: map[inode]string{}, skip: skip, buf: make([]byte, 128<<10)}
}

// Write writes what a path names as a tar whose entries begin with Base(p). A link at its end is followed if asked for.
func (r *Root) Write(ctx context.Context, p string, follow bool, out io.Writer) error {
	fd, err := r.find(p, follow)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	w := newWriter(ctx, out, nil)
	w.users = r.Users
	if err := w.add(fd, Base(p)); err != nil {
		return err
	}
	return w.tw.Close()
}

// WriteAll writes the whole tree, names relative to the root.
func (r *Root) WriteAll(ctx context.Context, out io.Writer) error {
	w := newWriter(ctx, out, nil)
	w.users = r.Users
	if err := w.children(r.fd, ""); err != nil {
		return err
	}
	return w.tw.Close()
}

// WriteLayer writes the directory in which overlayfs keeps a container's changes as an image's layer: what is deleted
// becomes whiteouts. skip leaves out names, which are relative, and what is below them.
func WriteLayer(ctx context.Context, upper string, users Users, skip func(name string) bool, out io.Writer) error {
	r, err := Open(upper)
	if err != nil {
		return err
	}
	defer r.Close()
	w := newWriter(ctx, out, skip)
	w.layer, w.users = true, users
	if err := w.children(r.fd, ""); err != nil {
		return err
	}
	return w.tw.Close()
}

func (w *writer) children(fd int, name string) error {
	return eachName(fd, name, func(base string) error { return w.child(fd, below(name, base), base) })
}

// below keeps the dot that says that a name is in a directory's content, which path.Join takes away.
func below(name, base string) string {
	if name == "" {
		return base
	}
	return name + "/" + base
}

// tooLong refuses what no program could reach by its name. A directory open for each part of it is what a container could take.
func tooLong(name string) error {
	if len(name) < unix.PathMax {
		return nil
	}
	return fmt.Errorf("%.60s...: %w", name, unix.ENAMETOOLONG)
}

func (w *writer) child(dir int, name, base string) error {
	if w.skip(name) {
		return nil
	}
	if err := tooLong(name); err != nil {
		return err
	}
	fd, _, gone, err := child(dir, base)
	if err != nil || gone {
		return err
	}
	defer unix.Close(fd)
	return w.add(fd, name)
}

// add writes one file, or a directory and all below it.
func (w *writer) add(fd int, name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat %s: %w", name, err)
	}
	if w.layer && isWhiteout(&st) {
		return w.empty(path.Join(path.Dir(name), ".wh."+path.Base(name)))
	}
	h, err := header(fd, &st, name)
	if err != nil || h == nil {
		return err
	}
	h.Uid, h.Gid = int(w.users.inside(st.Uid)), int(w.users.inside(st.Gid))
	switch {
	case h.Typeflag == tar.TypeDir:
		return w.dir(fd, h, name)
	case h.Typeflag == tar.TypeReg && w.linked(h, &st):
		return w.tw.WriteHeader(h)
	case h.Typeflag == tar.TypeReg:
		return w.file(fd, h)
	}
	return w.tw.WriteHeader(h)
}

func (w *writer) dir(fd int, h *tar.Header, name string) error {
	if err := w.tw.WriteHeader(h); err != nil {
		return err
	}
	if w.layer && isOpaque(fd) {
		if err := w.empty(path.Join(name, ".wh..wh..opq")); err != nil {
			return err
		}
	}
	return w.children(fd, name)
}

// linked turns the second and further names of a file into links to the first.
func (w *writer) linked(h *tar.Header, st *unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	key := inode{st.Dev, st.Ino}
	first, seen := w.links[key]
	if !seen {
		w.links[key] = h.Name
		return false
	}
	h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	return true
}

func (w *writer) empty(name string) error {
	return w.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Format: tar.FormatPAX})
}

// file writes as many bytes as the header says, whatever is added meanwhile. A file that becomes shorter is an error: zeros
// in its place would be a copy of what never was.
func (w *writer) file(fd int, h *tar.Header) error {
	f, err := os.OpenFile(fdPath(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", h.Name, err)
	}
	defer f.Close()
	if err := w.tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{w.tw}, io.LimitReader(f, h.Size), w.buf)
	if err != nil {
		return fmt.Errorf("read %s: %w", h.Name, err)
	}
	if n < h.Size {
		return fmt.Errorf("read %s: %w", h.Name, ErrShorter)
	}
	return nil
}

type onlyWriter struct{ io.Writer }
