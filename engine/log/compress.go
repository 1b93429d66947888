//go:build linux

package log

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrBusy says that the writer rotates the log just now: try again.
var ErrBusy = errors.New("the log is being rotated")

// Compress compresses the rotated files of a log that are not compressed yet. A file keeps its name, so that the writer's
// rotations go on as before, and is replaced when its successor is whole and on disk; until then that is PATH.compressing,
// which a later call begins anew. Only one call at a time may be about the same log. point is called between any two changes.
func Compress(ctx context.Context, path string, point func(string)) error {
	if err := Sweep(path); err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	files, err := openAll(path)
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	defer closeAll(files)
	for _, f := range files {
		if f.zipped || same(f.File, path) {
			continue
		}
		if err := compress(ctx, path, f, point); err != nil {
			return errors.Join(fmt.Errorf("compress log %s: %w", f.Name(), err), Sweep(path))
		}
	}
	return nil
}

func half(path string) string { return path + ".compressing" }

// Sweep removes what a call was at when its process died.
func Sweep(path string) error {
	if err := os.Remove(half(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func compress(ctx context.Context, path string, f *file, point func(string)) error {
	if err := writeZipped(ctx, half(path), f, point); err != nil {
		return err
	}
	point("log.zipped")
	unlock, err := Lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	numbers, err := list(path)
	if err != nil {
		return err
	}
	for _, n := range numbers { // it may have been rotated on meanwhile
		if n > 0 && same(f.File, name(path, n)) {
			return os.Rename(half(path), name(path, n))
		}
	}
	return os.Remove(half(path))
}

// writeZipped writes a file's lines to another, with the other's mode and time.
func writeZipped(ctx context.Context, to string, f *file, point func(string)) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, st.Mode().Perm())
	if err != nil {
		return err
	}
	defer out.Close()
	z := gzip.NewWriter(out)
	z.Comment, z.ModTime = f.origin, st.ModTime()
	if _, err := io.Copy(z, cancellable{ctx, io.NewSectionReader(f, 0, st.Size())}); err != nil {
		return err
	}
	point("log.half")
	if err := errors.Join(z.Close(), out.Sync()); err != nil {
		return err
	}
	return os.Chtimes(to, st.ModTime(), st.ModTime())
}

type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Lock keeps the writer from rotating: it takes the same lock while it renames files, never waits for it, and goes on with a
// file that is too long until it gets it. So must everybody who holds it be done at once.
func Lock(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		err = ErrBusy
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return func() { dir.Close() }, nil
}
