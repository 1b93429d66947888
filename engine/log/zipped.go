//go:build linux

package log

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// file is an open file of a log.
type file struct {
	*os.File
	zipped bool
	skip   int64 // lines at the beginning of a zipped one that are not wanted
	// origin tells the file that the writer wrote from all others of its time. A compressed file keeps that of what it was made
	// of, so that who was reading that finds its place again.
	origin string
}

// newFile looks what a file is. A line begins with a brace, so it cannot be taken for gzip's mark.
func newFile(f *os.File) (*file, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	out := &file{File: f, origin: fmt.Sprintf("shoal log %d:%d", st.Dev, st.Ino)}
	var mark [2]byte
	if n, err := f.ReadAt(mark[:], 0); err != nil && err != io.EOF {
		return nil, err
	} else if n < 2 || mark != [2]byte{0x1f, 0x8b} {
		return out, nil
	}
	out.zipped, out.origin = true, ""
	z, err := gzip.NewReader(io.NewSectionReader(f, 0, st.Size))
	if err == nil {
		out.origin = z.Comment
	}
	return out, nil // one that is spoilt shows when it is read
}

// lines is what is to be read of a zipped file.
func (f *file) lines() io.Reader {
	z, err := f.unzip()
	if err != nil {
		return failed{err}
	}
	b := bufio.NewReader(z)
	for range f.skip {
		if err := skipLine(b); err != nil {
			return failed{err}
		}
	}
	return b
}

func (f *file) unzip() (io.Reader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return gzip.NewReader(f)
}

// seekTail goes to the last n lines and says how many there are, n at most.
func (f *file) seekTail(n int64) (found int64, err error) {
	if f.zipped {
		return f.tail(n), nil
	}
	off, found, err := tailOffset(f.File, n)
	if err == nil {
		_, err = f.Seek(off, io.SeekStart)
	}
	return found, err
}

// tail drops all but the last n lines of a zipped file and says how many these are. It has no end to read backwards from.
func (f *file) tail(n int64) (found int64) {
	z, err := f.unzip()
	if err != nil {
		return 0
	}
	var all int64
	for b := bufio.NewReader(z); skipLine(b) == nil; {
		all++
	}
	found = min(n, all)
	f.skip = all - found
	return found
}

func skipLine(b *bufio.Reader) error {
	for {
		if _, err := b.ReadSlice('\n'); err != bufio.ErrBufferFull {
			return err
		}
	}
}

type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// index finds the file that f is, or has become, among others, oldest first; -1 if it is not there. One whose number was
// given again, after what it named was compressed, is older than f: while f is open nobody else has its number.
func index(files []*file, f *file) int {
	found := -1
	for i, other := range files {
		if sameFile(other.File, f.File) {
			return i
		}
		if !f.zipped && other.zipped && other.origin == f.origin {
			found = i
		}
	}
	return found
}
