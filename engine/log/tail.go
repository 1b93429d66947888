//go:build linux

package log

import (
	"fmt"
	"io"
	"math"
)

// remaining is how much there is behind the file's position.
func remaining(f *file) (int64, error) {
	if f.zipped {
		return math.MaxInt64, nil // nobody writes to it
	}
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	pos, err := f.Seek(0, io.SeekCurrent)
	return fi.Size() - pos, err
}

// begin opens the files and goes to the first line wanted.
func (r *reader) begin() error {
	files, err := openAll(r.path)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r.queue = files
	if r.opts.Tail >= 0 {
		if err := r.seekTail(r.opts.Tail); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	if !r.opts.Follow && len(r.queue) > 0 {
		if r.left, err = remaining(r.queue[len(r.queue)-1]); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	r.start()
	return nil
}

// start begins with the first file of the queue.
func (r *reader) start() {
	switch {
	case len(r.queue) > 0 && r.queue[0].zipped:
		r.lines.reset(r.queue[0].lines())
	case len(r.queue) == 1 && !r.opts.Follow:
		r.lines.reset(io.LimitReader(r.queue[0], r.left)) // what a busy container adds meanwhile is for the next reader
	case len(r.queue) > 0:
		r.lines.reset(r.queue[0])
	}
}

// seekTail drops the files that hold nothing of the last n lines, and moves the oldest one left to the first of them.
func (r *reader) seekTail(n int64) error {
	for i := len(r.queue) - 1; i >= 0; i-- {
		f := r.queue[i]
		found, err := f.seekTail(n)
		if err != nil {
			return err
		}
		if n -= found; n > 0 {
			continue
		}
		for _, old := range r.queue[:i] {
			old.Close()
		}
		r.queue = r.queue[i:]
		return nil
	}
	return nil
}
