//go:build linux

package log

import (
	"bufio"
	"bytes"
	"io"
	"os"
)

// longest is far above what the shim writes in a line: 16 KiB, escaped.
const longest = 1 << 20

// lines cuts a growing file into lines. The end of a line that is not there yet is waited for.
type lines struct {
	r    *bufio.Reader
	part []byte
}

func (l *lines) reset(f io.Reader) {
	l.part = l.part[:0]
	if l.r == nil {
		l.r = bufio.NewReaderSize(f, 64<<10)
		return
	}
	l.r.Reset(f)
}

func (l *lines) pending() bool { return len(l.part) > 0 }

// next returns a whole line, valid until the next call, or io.EOF if there is none now.
func (l *lines) next() ([]byte, error) {
	if l.pending() && l.part[len(l.part)-1] == '\n' {
		l.part = l.part[:0]
	}
	for {
		b, err := l.r.ReadSlice('\n')
		if err == nil && len(l.part) == 0 {
			return b, nil
		}
		if len(l.part)+len(b) > longest { // not a log; the rest up to the newline is left out as unreadable
			l.part = l.part[:0]
		}
		l.part = append(l.part, b...)
		switch err {
		case nil:
			return l.part, nil
		case bufio.ErrBufferFull:
			continue
		default:
			return nil, err
		}
	}
}

// tailOffset finds where the last n lines of f begin, reading backwards, and how many there are (n at most). What follows
// the last newline is no line yet.
func tailOffset(f *os.File, n int64) (off, found int64, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 64<<10)
	lineStart := int64(-1) // where the line begins that is being passed
	for pos := size; pos > 0; {
		chunk := buf[:min(pos, int64(len(buf)))]
		pos -= int64(len(chunk))
		if _, err := f.ReadAt(chunk, pos); err != nil {
			return 0, 0, err
		}
		for end := len(chunk); ; {
			i := bytes.LastIndexByte(chunk[:end], '\n')
			if i < 0 {
				break
			}
			if lineStart = pos + int64(i) + 1; found == n {
				return lineStart, found, nil
			}
			found++
			end = i
		}
	}
	return 0, found, nil
}
