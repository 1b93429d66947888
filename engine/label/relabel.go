//go:build linux

package label

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"
)

const attribute = "security.selinux"

// Relabel gives a file, or a directory and all below it, a label. Directories of the system are refused. The top is last, so
// that its label says whether all have it.
//
// Containers may be at work in there: every entry is opened from the directory that holds it, no link is followed, and what
// vanishes meanwhile is no error.
func Relabel(path, label string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	fd, err := unix.Open(real, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: real, Err: err}
	}
	defer unix.Close(fd)
	// The library knows which directories must stay as they are, and refuses to give them even the label that they have.
	have, err := selinux.LfileLabel(real)
	if err == nil {
		err = selinux.Chcon(real, have, false)
	}
	if err != nil {
		return fmt.Errorf("relabel %s: %w", path, err)
	}
	if err := below(fd, label); err != nil {
		return fmt.Errorf("relabel what is in %s: %w", path, err)
	}
	return set(fd, label)
}

// Has says whether a file has a label.
func Has(path, label string) bool {
	have, err := selinux.LfileLabel(path)
	return err == nil && have == label
}

// set works on a descriptor that was opened for its path only, of a symbolic link as well.
func set(fd int, label string) error {
	return unix.Setxattr(fmt.Sprintf("/proc/self/fd/%d", fd), attribute, []byte(label), 0)
}

// below labels the entries of a directory, depth first. What is not a directory has none.
func below(dir int, label string) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	for {
		names, err := f.Readdirnames(256)
		for _, name := range names {
			if err := one(dir, name, label); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func one(dir int, name, label string) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := below(fd, label); err != nil {
		return err
	}
	return set(fd, label)
}
