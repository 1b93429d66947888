//go:build linux

package log

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long to wait for the kernel's word before looking anyway: it can be missing (file systems over a
// network, no inotify instances left).
const patience = 500 * time.Millisecond

// follow emits what is there and what comes.
func (r *reader) follow(ctx context.Context) error {
	changes, stop := watch(filepath.Dir(r.path))
	defer stop()
	until := r.until()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		last := r.stopped() // asked first: what was written before the stop is then read
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.opts.Done:
		case <-until:
			return r.catchUp(ctx)
		case <-changes:
		case <-tick.C:
		}
	}
}

func (r *reader) stopped() bool {
	select {
	case <-r.opts.Done:
		return true
	default:
		return false
	}
}

// until fires when no wanted line can come any more; never, if there is no end.
func (r *reader) until() <-chan time.Time {
	if r.opts.Until.IsZero() {
		return nil
	}
	return time.After(time.Until(r.opts.Until))
}

// catchUp emits all there is, through as many rotations as there were.
func (r *reader) catchUp(ctx context.Context) error {
	for {
		// Whether the file has been rotated away is asked before reading it: once it has, nobody writes to it.
		rotated := len(r.queue) == 0 || !same(r.queue[len(r.queue)-1].File, r.path)
		if err := r.drain(ctx); err != nil {
			return err
		}
		if err := r.truncated(); err != nil {
			return err
		}
		if !rotated {
			return nil
		}
		more, err := r.successors()
		if err != nil || !more {
			return err
		}
	}
}

// truncated starts over with a file that has become shorter than what was read of it: a log of one file is rotated so.
func (r *reader) truncated() error {
	if len(r.queue) == 0 {
		return nil
	}
	f := r.queue[0]
	pos, err := f.Seek(0, 1)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if fi.Size() >= pos {
		return nil
	}
	if _, err := f.Seek(0, 0); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r.start()
	return nil
}

// successors queues the files that came after the one read so far and leaves that one. It returns false if there are none
// yet: the writer is between two renames.
func (r *reader) successors() (bool, error) {
	files, err := openAll(r.path)
	if err != nil {
		return false, fmt.Errorf("read log: %w", err)
	}
	newer := files // all, if the one read was deleted by further rotations
	if len(r.queue) > 0 {
		if i := index(files, r.queue[0]); i >= 0 {
			newer = files[i+1:]
			closeAll(files[:i+1])
		}
	}
	if len(newer) == 0 {
		return false, nil
	}
	r.queue = append(r.queue, newer...)
	if len(r.queue) == len(newer) {
		r.start()
	} else {
		r.next()
	}
	return true, nil
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func closeAll(files []*file) {
	for _, f := range files {
		f.Close()
	}
}

// watch signals changes of the directory's files, as far as the kernel lets it: otherwise there is only patience.
func watch(dir string) (changes <-chan struct{}, stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, func() {}
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		f.Close()
		return nil, func() {}
	}
	c := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil {
				return // closed
			}
			select {
			case c <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return c, func() { f.Close(); <-ended }
}
