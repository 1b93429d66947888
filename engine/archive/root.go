//go:build linux

// Package archive turns the file tree of a container into tar archives and back, and compares it with its image.
//
// Root is a container's root directory, through which every path is resolved as a process inside would: no symbolic link
// and no ".." leads out of it, whatever the container does meanwhile (openat2 with RESOLVE_IN_ROOT; below that one
// descriptor a step, none followed). Write and Extract are copying, WriteLayer and Changes read the writable layer that
// overlayfs keeps. It knows nothing of containers or images.
package archive

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotDirectory says that something that is to be a directory is none.
var ErrNotDirectory = errors.New("not a directory")

// ErrShorter says that a file lost some of its content while it was read.
var ErrShorter = errors.New("the file became shorter while it was copied: try again, or pause the container meanwhile")

// Root is a directory that nothing leads out of.
type Root struct {
	fd    int
	Users Users
}

// Open opens a root; the path itself is the host's.
func Open(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{fd: fd}, nil
}

// Close lets go of it.
func (r *Root) Close() error { return unix.Close(r.fd) }

// Fd is the directory's descriptor.
func (r *Root) Fd() int { return r.fd }

// clean makes a path absolute and says whether it asks for a directory by a slash or a dot at its end.
func clean(p string) (abs string, dir bool) {
	return path.Clean("/" + p), strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || p == "." || p == ""
}

// open resolves a path inside of the root.
func (r *Root) open(abs string, flags uint64) (int, error) {
	rel := strings.TrimPrefix(abs, "/")
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(r.fd, rel, &how)
		if err == unix.EAGAIN || err == unix.EINTR { // somebody renamed something meanwhile
			continue
		}
		if err == unix.ENOTDIR {
			err = ErrNotDirectory
			return -1, &fs.PathError{Op: "open", Path: abs, Err: err}
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: abs, Err: err}
		}
		return fd, nil
	}
}

// find opens what a path names, without opening it for reading. Links at its end are followed if asked for, or if a slash
// stands behind them.
func (r *Root) find(p string, follow bool) (int, error) {
	abs, dir := clean(p)
	flags := uint64(unix.O_PATH)
	if dir {
		flags |= unix.O_DIRECTORY
	} else if !follow {
		flags |= unix.O_NOFOLLOW
	}
	return r.open(abs, flags)
}

// MkdirAll makes a directory and what is missing above it.
func (r *Root) MkdirAll(p string) error {
	abs, _ := clean(p)
	for i, part := 0, strings.Split(strings.Trim(abs, "/"), "/"); i < len(part); i++ {
		parent, err := r.open("/"+strings.Join(part[:i], "/"), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		err = unix.Mkdirat(parent, part[i], 0o755)
		unix.Close(parent)
		if err != nil && err != unix.EEXIST && part[i] != "" {
			return &fs.PathError{Op: "mkdir", Path: abs, Err: err}
		}
	}
	return nil
}

// Base is the name that what a path names has in an archive: "." for a directory's content.
func Base(p string) string {
	abs, _ := clean(p)
	if abs == "/" || strings.HasSuffix(p, "/.") || p == "." {
		return "."
	}
	return path.Base(abs)
}

// fdPath is how calls that know no descriptors name an open file.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// child opens one entry of a directory, links not followed; gone says that there is none any more.
func child(dir int, name string) (fd int, st unix.Stat_t, gone bool, err error) {
	fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return -1, st, true, nil
	}
	if err != nil {
		return -1, st, false, err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, st, false, err
	}
	return fd, st, false, nil
}

func format(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

func isDir(st *unix.Stat_t) bool { return format(st) == unix.S_IFDIR }

// isWhiteout is overlayfs' sign for an entry of the image that was deleted.
func isWhiteout(st *unix.Stat_t) bool { return format(st) == unix.S_IFCHR && st.Rdev == 0 }

// isOpaque is overlayfs' sign for a directory that hides the one of the image.
func isOpaque(fd int) bool {
	var v [1]byte
	n, err := unix.Getxattr(fdPath(fd), "trusted.overlay.opaque", v[:])
	return err == nil && n == 1 && v[0] == 'y'
}

func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(0, n)]), err
}

func newFile(fd int) *os.File { return os.NewFile(uintptr(fd), fdPath(fd)) }

// Find opens what a path names, links followed, without opening it for reading: to mount something there.
func (r *Root) Find(p string) (*os.File, error) {
	fd, err := r.find(p, true)
	if err != nil {
		return nil, err
	}
	return newFile(fd), nil
}
