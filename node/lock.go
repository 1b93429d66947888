//go:build linux

package node

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile takes an exclusive lock that ends with the process, however it ends.
func lockFile(path, what string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("another daemon uses this %s (%s is locked): stop it, or give --data-dir and --run-dir", what, path)
	}
	return f, nil
}

// flock waits a moment: of a daemon that was killed while it forked, the child holds the lock until its exec.
func flock(f *os.File) (err error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(20 * time.Millisecond) {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// lockPatience is how long a daemon waits for another one's lock.
const lockPatience = time.Second
