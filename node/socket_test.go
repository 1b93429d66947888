//go:build linux

package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// echoed listens at a path of its own and gives every connection back what it sends.
func echoed(t *testing.T) (*socket, *bytes.Buffer) {
	t.Helper()
	var logged bytes.Buffer
	s, err := openSocket(filepath.Join(t.TempDir(), "s"), slog.New(slog.NewTextHandler(&logged, nil)))
	check(t, err)
	done := make(chan error, 1)
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				done <- err
				return
			}
			go func() {
				defer c.Close()
				var b [1]byte
				for {
					if _, err := c.Read(b[:]); err != nil {
						return
					}
					c.Write(b[:])
				}
			}()
		}
	}()
	t.Cleanup(func() {
		check(t, s.Close())
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed socket's Accept says %v", err)
		}
		if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a closed socket leaves its file: %v", err)
		}
	})
	return s, &logged
}

func answers(c net.Conn) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := c.Read(b)
	return err
}

func dial(t *testing.T, s *socket) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.path)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	check(t, answers(c))
	return c
}

func TestDeletedSocketIsMadeAnew(t *testing.T) {
	for _, deleted := range []struct {
		what string
		how  func(path string) error
	}{
		{"file", os.Remove},
		{"directory", func(path string) error { return os.RemoveAll(filepath.Dir(path)) }},
		{"replaced", func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		}},
	} {
		t.Run(deleted.what, func(t *testing.T) {
			s, logged := echoed(t)
			before := dial(t, s)
			s.check()
			if logged.Len() > 0 {
				t.Fatalf("nothing was deleted, and the log says %s", logged)
			}
			check(t, deleted.how(s.path))
			s.check()
			dial(t, s)
			check(t, answers(before))
			st, err := os.Lstat(s.path)
			check(t, err)
			if st.Mode().Perm() != 0o660 {
				t.Errorf("the new socket is %v", st.Mode())
			}
			s.check()
			if again, err := os.Lstat(s.path); err != nil || !os.SameFile(st, again) {
				t.Errorf("a socket that is there was made once more (%v)", err)
			}
			if n := strings.Count(logged.String(), "\n"); n != 1 {
				t.Errorf("logged %d lines, want one:\n%s", n, logged)
			}
		})
	}
}

// TestSocketInTheWay has a directory with something in it where the socket was: that is not the daemon's to remove.
func TestSocketInTheWay(t *testing.T) {
	s, logged := echoed(t)
	check(t, os.Remove(s.path))
	check(t, os.MkdirAll(filepath.Join(s.path, "precious"), 0o700))
	s.check()
	s.check()
	if n := strings.Count(logged.String(), "\n"); n != 1 || !strings.Contains(logged.String(), "will try again") {
		t.Errorf("logged %d lines, want one that says what is wrong:\n%s", n, logged)
	}
	check(t, os.RemoveAll(s.path))
	s.check()
	dial(t, s)
}

func TestSocketIsWatched(t *testing.T) {
	s, _ := echoed(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, time.Millisecond) }()
	check(t, os.Remove(s.path))
	eventually(t, "a socket that answers", func() bool {
		c, err := net.Dial("unix", s.path)
		if err != nil {
			return false
		}
		defer c.Close()
		return answers(c) == nil
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}
