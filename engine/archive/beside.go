//go:build linux

package archive

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/sparse"
)

// beside is a file that has its name only once it is whole: until then it has none, and is gone with this process, or,
// on a file system that knows no such files, a hidden one in the same directory.
type beside struct {
	parent int
	name   string // "" for none
	f      *os.File
}

// newBeside makes one that can be written to.
func newBeside(parent int) (*beside, error) {
	fd, err := unix.Openat(parent, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch err {
	case nil:
		return &beside{parent: parent, f: newFile(fd)}, nil
	case unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL:
		return newHidden(parent)
	}
	return nil, err
}

func newHidden(parent int) (*beside, error) {
	name := hiddenName()
	fd, err := unix.Openat(parent, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return &beside{parent: parent, name: name, f: newFile(fd)}, nil
}

func hiddenName() string { return ".shoal-cp-" + rand.Text()[:12] }

// fill writes the content, with holes for zeros, and everything else that the file is to have.
func (b *beside) fill(ctx context.Context, h *tar.Header, content io.Reader, buf []byte) error {
	if _, err := sparse.Copy(ctx, b.f, content, buf); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(b.f.Fd()), &st); err != nil {
		return err
	}
	return attributesOf(int(b.f.Fd()), &st, h)
}

// become gives it its name, in the place of what has it.
func (b *beside) become(base string) error {
	if b.name == "" {
		err := unix.Linkat(int(b.f.Fd()), "", b.parent, base, unix.AT_EMPTY_PATH)
		if err != unix.EEXIST {
			return err
		}
		hidden := hiddenName()
		if err := unix.Linkat(int(b.f.Fd()), "", b.parent, hidden, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
		b.name = hidden
	}
	err := replace(b.parent, b.name, base)
	if err == nil {
		b.name = ""
	}
	return err
}

// overwrite copies the content into a file that is mounted.
func (b *beside) overwrite(base string) error {
	fd, err := unix.Openat(b.parent, base, unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	to := newFile(fd)
	_, err = b.f.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.Copy(to, b.f)
	}
	return errors.Join(err, to.Close())
}

// close lets go of it, and of what did not get its name.
func (b *beside) close() {
	if b.name != "" {
		unix.Unlinkat(b.parent, b.name, 0)
	}
	b.f.Close()
}

// replace renames within a directory. Two names of one file would both stay.
func replace(parent int, from, to string) error {
	if err := unix.Renameat(parent, from, parent, to); err != nil {
		return err
	}
	if err := unix.Unlinkat(parent, from, 0); err != nil && err != unix.ENOENT {
		return err
	}
	return nil
}
