//go:build linux

// Package log reads what the shim wrote of a container's output.
//
// Read reads rotated files (PATH.N, the oldest, to PATH.1) and the newest (PATH) in order, from the end if asked, and
// follows the newest across rotations without losing or repeating a line. Compress compresses rotated files, under their
// names. Writing is the shim's.
//
// The format is Docker's json-file, one object a line:
//
//	{"log":"text\n","stream":"stdout","time":"2026-11-01T12:00:00.123456789Z"}
//
// with "attrs":{"KEY":"VALUE",...} before the time where the container has any.
package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// Options say which lines are wanted.
type Options struct {
	Since time.Time // zero: from the beginning
	Until time.Time // zero: no end
	Tail  int64     // only the last lines; negative: all
	// Details has lines come with their attributes.
	Details bool
	// Follow waits for more until Done is closed (the container has stopped, all is written) or Until has come.
	Follow bool
	Done   <-chan struct{}
}

// FromAPI takes the options of a request. done may be nil.
func FromAPI(o *api.LogOptions, done <-chan struct{}) Options {
	opts := Options{Follow: o.GetFollow(), Tail: o.GetTail(), Details: o.GetDetails(), Done: done}
	if o == nil {
		opts.Tail = -1
	}
	if o.GetSince() != nil {
		opts.Since = o.Since.AsTime()
	}
	if o.GetUntil() != nil {
		opts.Until = o.Until.AsTime()
	}
	return opts
}

// errEnd ends reading early, without an error for the caller.
var errEnd = errors.New("no more lines wanted")

// Read calls emit for every wanted line, oldest first. It ends at the end of the log, or as Options.Follow says, or with
// emit's error, or when ctx ends. A log that does not exist yet is empty. Lines that cannot be read (a crash while one was
// written) are left out and reported by an error at the end.
func Read(ctx context.Context, path string, o Options, emit func(*api.LogLine) error) error {
	r := &reader{path: path, opts: o, emit: emit}
	defer r.close()
	err := r.read(ctx)
	if errors.Is(err, errEnd) {
		err = nil
	}
	if err == nil && r.spoilt > 0 {
		return fmt.Errorf("%d lines of log %s could not be read", r.spoilt, path)
	}
	return err
}

// reader goes through a queue of open files.
type reader struct {
	path   string
	opts   Options
	emit   func(*api.LogLine) error
	queue  []*file // oldest first; the first is being read
	left   int64   // not following: how much of the last file is wanted
	lines  lines
	spoilt int
}

func (r *reader) close() {
	for _, f := range r.queue {
		f.Close()
	}
}

func (r *reader) read(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	if !r.opts.Follow {
		return r.drain(ctx)
	}
	return r.follow(ctx)
}

// drain emits all there is in the files of the queue, and keeps the last one open.
func (r *reader) drain(ctx context.Context) error {
	for len(r.queue) > 0 {
		if err := r.current(ctx); err != nil {
			return err
		}
		if len(r.queue) == 1 {
			return nil
		}
		r.next()
	}
	return nil
}

// next leaves the first file of the queue. What it ends with and is no whole line will never become one.
func (r *reader) next() {
	if r.lines.pending() {
		r.spoilt++
	}
	r.queue[0].Close()
	r.queue = r.queue[1:]
	r.start()
}

// current emits the lines of the first file up to its present end.
func (r *reader) current(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.lines.next()
		if err == io.EOF {
			return nil
		}
		if err != nil && r.queue[0].zipped {
			r.spoilt++ // what comes after is lost, other files are not
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if err := r.line(line); err != nil {
			return err
		}
	}
}

// entry is a line on disk.
type entry struct {
	Log    string            `json:"log"`
	Stream string            `json:"stream"`
	Time   time.Time         `json:"time"`
	Attrs  map[string]string `json:"attrs"`
}

func (r *reader) line(b []byte) error {
	var e entry
	if json.Unmarshal(b, &e) != nil {
		r.spoilt++
		return nil
	}
	if e.Time.Before(r.opts.Since) {
		return nil
	}
	if !r.opts.Until.IsZero() && e.Time.After(r.opts.Until) {
		return errEnd
	}
	l := &api.LogLine{Stderr: e.Stream == "stderr", Time: timestamppb.New(e.Time), Data: []byte(e.Log)}
	if r.opts.Details {
		l.Attrs = e.Attrs
	}
	return r.emit(l)
}
