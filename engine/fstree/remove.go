//go:build linux

package fstree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDepth is how many directories below one another are open at a time. os.RemoveAll opens all of them: a container makes a million
// within a minute, and a daemon that follows has neither descriptors nor memory left.
const maxDepth = 64

// maxNames is how many names of a directory are read at a time.
const maxNames = 1024

// RemoveAll removes path and all below it, of whatever depth; what is not there is no error. No link is followed. Directories that
// are far down are moved up on the way.
func RemoveAll(path string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err == nil {
		defer unix.Close(parent)
		err = RemoveAt(parent, filepath.Base(path))
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// RemoveAt is RemoveAll of one name in an open directory.
func RemoveAt(parent int, name string) error {
	if done, err := removeOne(parent, name); done {
		return err
	}
	top, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer top.Close()
	r := &remover{top: top}
	if err := r.empty(top, 1); err != nil {
		return err
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}

// remover empties the directory top.
type remover struct {
	top   *os.File
	moved int
}

// removeOne removes what has nothing below it.
func removeOne(dir int, name string) (done bool, err error) {
	err = unix.Unlinkat(dir, name, 0)
	if err == unix.EISDIR {
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
	switch err {
	case nil, unix.ENOENT:
		return true, nil
	case unix.ENOTEMPTY, unix.EEXIST:
		return false, nil
	}
	return true, err
}

func openDir(parent int, name string) (*os.File, error) {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// empty removes all that is in a directory. What it moves to the top is found there in the next round.
func (r *remover) empty(dir *os.File, depth int) error {
	for {
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(maxNames)
		if len(names) == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		for _, name := range names {
			if err := r.remove(dir, name, depth); err != nil {
				return err
			}
		}
	}
}

func (r *remover) remove(dir *os.File, name string, depth int) error {
	parent := int(dir.Fd())
	if done, err := removeOne(parent, name); done {
		return err
	}
	if depth == maxDepth {
		return r.moveUp(parent, name)
	}
	below, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer below.Close()
	if err := r.empty(below, depth+1); err != nil {
		return err
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}

func (r *remover) moveUp(dir int, name string) error {
	for {
		r.moved++
		err := unix.Renameat2(dir, name, int(r.top.Fd()), "moved-"+strconv.Itoa(r.moved), unix.RENAME_NOREPLACE)
		if err != unix.EEXIST {
			return err
		}
	}
}
