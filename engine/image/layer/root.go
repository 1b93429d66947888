//go:build linux

package layer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// root is the directory that everything stays in.
type root struct {
	fd int
	// The directory used last, as entries of one directory come together. Without a name it is not used again, but stays open
	// for the entry at hand: its number would be another file's in no time, and what an image writes would be there.
	lastName string
	lastFd   int
}

func openRoot(dir string) (*root, error) {
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return &root{fd: fd, lastFd: -1}, nil
}

func (r *root) close() {
	r.forget()
	unix.Close(r.fd)
}

func (r *root) forget() {
	if r.lastFd >= 0 {
		unix.Close(r.lastFd)
	}
	r.lastName, r.lastFd = "", -1
}

// open opens the directory name as a process would that has the root as its own: links and ".." cannot leave it.
func (r *root) open(name string) (int, error) {
	if name == "" {
		name = "."
	}
	how := unix.OpenHow{
		Flags:   unix.O_DIRECTORY | unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(r.fd, name, &how)
		if err == unix.EAGAIN || err == unix.EINTR { // somebody renamed something anywhere meanwhile
			continue
		}
		return fd, err
	}
}

// dir returns the directory name, made with all its parents if it is missing. The descriptor is valid until the next call.
func (r *root) dir(name string) (int, error) {
	if name == "" {
		return r.fd, nil
	}
	if r.lastFd >= 0 && r.lastName == name {
		return r.lastFd, nil
	}
	fd, err := r.open(name)
	if errors.Is(err, unix.ENOENT) {
		if err := r.mkdirAll(name); err != nil {
			return -1, err
		}
		fd, err = r.open(name)
	}
	if err != nil {
		return -1, fmt.Errorf("open directory %q: %w", name, err)
	}
	r.forget()
	r.lastName, r.lastFd = name, fd
	return fd, nil
}

// mkdirAll makes what is missing of name, for archives that leave out directories.
func (r *root) mkdirAll(name string) error {
	parent := r.fd
	for i, part := range strings.Split(name, "/") {
		prefix := strings.Join(strings.Split(name, "/")[:i+1], "/")
		err := unix.Mkdirat(parent, part, 0o755)
		if parent != r.fd {
			unix.Close(parent)
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("mkdir %q: %w", prefix, err)
		}
		if parent, err = r.open(prefix); err != nil {
			return fmt.Errorf("mkdir %q: %w", prefix, err)
		}
	}
	if parent != r.fd {
		unix.Close(parent)
	}
	return nil
}

// removeAll removes an entry, without following links.
func (r *root) removeAll(dir int, base string, isDir bool) error {
	r.lastName = "" // its name may have led through the entry
	if !isDir {
		return wrap("replace", unix.Unlinkat(dir, base, 0))
	}
	fd, err := unix.Openat(dir, ".", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	defer unix.Close(fd)
	under, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	defer under.Close()
	return wrap("replace", under.RemoveAll(base))
}

// lstat tells whether base exists in dir.
func lstat(dir int, base string) (st unix.Stat_t, exists bool, err error) {
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return st, false, nil
	}
	return st, err == nil, err
}

func isWhiteout(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func newFile(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
