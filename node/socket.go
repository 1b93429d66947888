//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// socketCheck is how long a socket whose file was deleted stays so.
const socketCheck = 5 * time.Second

// socket is the listener on the daemon's unix socket. Its file may be deleted under it, by who cleans up directories of
// temporary files: nobody could connect any more, and nothing would tell. Run makes it anew. Whoever accepts from it notices
// nothing, and connections that are there stay.
type socket struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	current *net.UnixListener
	file    fs.FileInfo // what current was bound to
	closed  bool
	failing bool // that it cannot be made was logged
}

// openSocket makes the socket. The caller runs Run beside whoever accepts, and closes it.
func openSocket(path string, log *slog.Logger) (*socket, error) {
	s := &socket{path: path, log: log}
	return s, s.listen()
}

// Run looks for the file until ctx ends.
func (s *socket) Run(ctx context.Context, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			s.check()
		}
	}
}

// check makes the socket anew if what its path names is not the one that was made. What stands in the way the first time
// is logged, a repetition is not.
func (s *socket) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if st, err := os.Lstat(s.path); err == nil && os.SameFile(st, s.file) {
		return
	}
	old := s.current
	if err := s.listen(); err != nil {
		if !s.failing {
			s.log.Error("the socket's file was deleted and cannot be made anew, will try again", "path", s.path, "error", err)
		}
		s.failing = true
		return
	}
	s.failing = false
	s.log.Warn("the socket's file was deleted: made anew", "path", s.path)
	old.SetUnlinkOnClose(false) // the name is the new one's
	old.Close()
}

// listen makes file and listener. A directory that went with the file is made, too.
func (s *socket) listen() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o711); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	l, err := listenUnix(s.path)
	if err != nil {
		return err
	}
	st, err := os.Lstat(s.path)
	if err != nil {
		l.Close()
		return err
	}
	s.current, s.file = l, st
	return nil
}

// Accept waits for a connection to whichever file there is.
func (s *socket) Accept() (net.Conn, error) {
	for {
		l := s.listener()
		c, err := l.Accept()
		if err == nil || s.listener() == l {
			return c, err
		}
	}
}

func (s *socket) listener() *net.UnixListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Close ends it and removes the file.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.current.Close()
}

// Addr is the path.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// listenUnix makes the socket, for root and the group shoal where there is one. A socket that a dead daemon left is
// replaced: the lock says that it is dead.
func listenUnix(path string) (*net.UnixListener, error) {
	if len(path) > 100 {
		return nil, fmt.Errorf("run directory %s is too long: a unix socket's path has at most 107 characters", filepath.Dir(path))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := admit(path); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// admit lets root and the group shoal connect.
func admit(path string) error {
	if err := os.Chmod(path, 0o660); err != nil {
		return err
	}
	g, err := user.LookupGroup("shoal")
	if err != nil {
		return nil
	}
	gid, _ := strconv.Atoi(g.Gid)
	if err := os.Chown(path, 0, gid); err != nil {
		return fmt.Errorf("give the socket to group shoal: %w", err)
	}
	return nil
}
