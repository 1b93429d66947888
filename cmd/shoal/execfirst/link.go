//go:build linux

package execfirst

import (
	"os"
	"syscall"
	"time"
)

// helloWithin is how long a daemon may take to say that it understands.
const helloWithin = 5 * time.Second

// link is a connection to a daemon. The descriptor blocks: there is one goroutine that reads from it.
type link struct {
	*os.File
	fd int
}

// dial connects to a daemon's socket. Until patience is set, a read ends after so long.
func dial(socket string, within time.Duration) (*link, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l := &link{fd: fd}
	err = l.patience(within)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket})
	}
	if err != nil {
		syscall.Close(fd)
		return nil, err
	}
	l.File = os.NewFile(uintptr(fd), socket)
	return l, nil
}

// patience is how long a read waits; zero: for ever.
func (l *link) patience(d time.Duration) error {
	t := syscall.NsecToTimeval(int64(d))
	return syscall.SetsockoptTimeval(l.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &t)
}

// quiet waits for something to read, and says whether nothing came.
func (l *link) quiet(d time.Duration) bool {
	l.patience(d)
	defer l.patience(0)
	for {
		if _, _, err := syscall.Recvfrom(l.fd, make([]byte, 1), syscall.MSG_PEEK); err != syscall.EINTR {
			return err == syscall.EAGAIN
		}
	}
}
