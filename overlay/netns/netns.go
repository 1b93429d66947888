//go:build linux

// Package netns makes, opens and removes network namespaces that are kept by a bind mount.
//
// Threads that enter a namespace are thrown away afterwards, so that no other goroutine ever runs in
// the wrong one. It knows nothing of what is inside a namespace.
package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
)

const nsfsMagic = 0x6e736673

// NS is an open network namespace. Close it after use: an open one keeps the namespace alive.
type NS struct{ file *os.File }

// Open opens the namespace mounted at path.
func Open(path string) (*NS, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		f.Close()
		return nil, fmt.Errorf("look at network namespace %s: %w", path, err)
	}
	if fs.Type != nsfsMagic {
		f.Close()
		return nil, fmt.Errorf("open network namespace %s: %w", path, ErrNotMounted)
	}
	return &NS{f}, nil
}

// Exists says whether a namespace is mounted at path. It is cheaper than Open.
func Exists(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == nsfsMagic
}

// ErrNotMounted says that a path exists but that no namespace is mounted on it (any more).
var ErrNotMounted = errors.New("no namespace is mounted here")

// Current opens the namespace that the calling thread is in.
func Current() (*NS, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return Open("/proc/thread-self/ns/net")
}

// FD is the descriptor, valid until Close.
func (n *NS) FD() int { return int(n.file.Fd()) }

// Use calls f with the descriptor, which stays open as long as f runs. A closed namespace is os.ErrClosed.
func (n *NS) Use(f func(fd int) error) error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return os.ErrClosed
	}
	var inner error
	if conn.Control(func(fd uintptr) { inner = f(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return inner
}

// Same tells whether both are the same namespace.
func (n *NS) Same(other *NS) bool {
	a, err1 := n.file.Stat()
	b, err2 := other.file.Stat()
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// Inode identifies the namespace as long as it lives.
func (n *NS) Inode() uint64 {
	var st unix.Stat_t
	if unix.Fstat(n.FD(), &st) != nil {
		return 0
	}
	return st.Ino
}

// Close lets go of the namespace.
func (n *NS) Close() error { return n.file.Close() }

// Do runs fn on a thread inside the namespace and throws the thread away.
func (n *NS) Do(fn func() error) error {
	return thread.Spend(func() error {
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// Create makes a namespace and mounts it at path. One that is mounted there already is left as it is.
func Create(path string) error {
	if ns, err := Open(path); err == nil {
		return ns.Close()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create directory for network namespaces: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("create mount point for network namespace: %w", err)
	}
	f.Close()
	return thread.Spend(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("create network namespace: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount network namespace on %s: %w", path, err)
		}
		return nil
	})
}

// Remove unmounts and deletes path. What is not there is no error.
func Remove(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount network namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove mount point of network namespace: %w", err)
	}
	return nil
}

// Sysctl is one kernel setting: a path under /proc/sys with dots for slashes is not used, because interface names may
// hold dots.
type Sysctl struct {
	Path  string // for example net/ipv4/ip_forward
	Value string
	// Optional: the kernel may lack it (IPv6 switched off).
	Optional bool
}

// Unequal returns the settings whose value differs in the calling thread's namespace.
func Unequal(want []Sysctl) []Sysctl {
	var out []Sysctl
	for _, s := range want {
		got, err := os.ReadFile("/proc/sys/" + s.Path)
		if s.Optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil || strings.TrimSpace(string(got)) != s.Value {
			out = append(out, s)
		}
	}
	return out
}

// Write sets the settings in the calling thread's namespace.
func Write(settings []Sysctl) error {
	for _, s := range settings {
		err := os.WriteFile("/proc/sys/"+s.Path, []byte(s.Value), 0o644)
		if s.Optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("set %s to %s: %w", s.Path, s.Value, err)
		}
	}
	return nil
}
