//go:build linux

// Package fstree copies directory trees with everything that belongs to them: owners, modes, times, extended
// attributes, hard links, devices; and removes trees that containers have made.
//
// Copy works on descriptors and never follows a link below the two roots, so that somebody who can
// write into either tree cannot lead it elsewhere. It does not merge: what it copies must not be there.
package fstree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Copy copies what is in the directory src into the directory dst, and src's own attributes onto dst.
func Copy(ctx context.Context, src, dst string) error {
	from, err := os.OpenFile(src, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	defer from.Close()
	to, err := os.OpenFile(dst, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	defer to.Close()
	c := &copier{ctx: ctx, to: to, at: ".", links: map[inode]link{}}
	if err := c.dir(from, to); err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// link is where a file with several names was copied to first. It is opened anew for each further name: an image may have any
// number of such files.
type link struct{ dir, name string }

type copier struct {
	ctx   context.Context
	to    *os.File
	at    string // the directory that is copied, below to
	links map[inode]link
}

// dir copies the entries, then the attributes: its times last, since entries change them.
func (c *copier) dir(from, to *os.File) error {
	for {
		names, err := from.Readdirnames(512)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			if err := c.entry(from, to, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	return attributes(from, to, ".", ".", st)
}

func (c *copier) entry(from, to *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return c.subdir(from, to, name)
	}
	if done, err := c.linked(to, name, st); done || err != nil {
		return err
	}
	if err := create(from, to, name, st); err != nil {
		return err
	}
	return attributes(from, to, name, name, st)
}

func (c *copier) subdir(from, to *os.File, name string) error {
	if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil {
		return fmt.Errorf("mkdir: %w", err)
	}
	subFrom, err := openAt(from, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer subFrom.Close()
	subTo, err := openAt(to, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer subTo.Close()
	above := c.at
	defer func() { c.at = above }()
	if c.at += "/" + name; len(c.at) >= unix.PathMax { // no program reaches it; two descriptors are open for each part of it
		return unix.ENAMETOOLONG
	}
	return c.dir(subFrom, subTo)
}

// linked links a file to its copy if it was met before under another name.
func (c *copier) linked(to *os.File, name string, st unix.Stat_t) (bool, error) {
	if st.Nlink < 2 {
		return false, nil
	}
	id := inode{uint64(st.Dev), st.Ino}
	if l, ok := c.links[id]; ok {
		return true, c.link(l, to, name)
	}
	c.links[id] = link{c.at, name}
	return false, nil
}

// link makes a further name. Whatever somebody has made of the way to the first one meanwhile, it leads nowhere else.
func (c *copier) link(l link, to *os.File, name string) error {
	fd, err := unix.Openat2(int(c.to.Fd()), l.dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Linkat(fd, l.name, int(to.Fd()), name, 0)
}

func create(from, to *os.File, name string, st unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return file(from, to, name)
	case unix.S_IFLNK:
		target, err := readlink(from, name)
		if err != nil {
			return err
		}
		return unix.Symlinkat(target, int(to.Fd()), name)
	default: // devices, pipes, sockets
		return unix.Mknodat(int(to.Fd()), name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev))
	}
}

func file(from, to *os.File, name string) error {
	in, err := openAt(from, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := openAt(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return out.Close()
	}
	_, err = io.Copy(out, in) // copy_file_range where it works
	return errors.Join(err, out.Close())
}

func readlink(dir *os.File, name string) (string, error) {
	buf := [unix.PathMax]byte{}
	n, err := unix.Readlinkat(int(dir.Fd()), name, buf[:])
	if err != nil {
		return "", fmt.Errorf("read link: %w", err)
	}
	return string(buf[:n]), nil
}

func openAt(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// at is a path to name in dir whose last component is the only one that could be a link.
func at(dir *os.File, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name) }
