//go:build linux

package layer

import (
	"bytes"
	"io"
	"os"
)

// fill writes a file's content and leaves out blocks of zeros: a layer of ten kilobytes may bring a file of any length without
// content, which would take all of the disk, and in one entry that nobody could stop.
func (x *extractor) fill(f *os.File, content io.Reader) error {
	for size := int64(0); ; {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(content, x.buf)
		if !zeros(x.buf[:n]) {
			if _, err := f.WriteAt(x.buf[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		x.bytes += int64(n)
		switch err {
		case nil:
		case io.EOF:
			return f.Truncate(size)
		case io.ErrUnexpectedEOF:
			// A short last block, or the archive ends in the middle of it: the next read says which.
			if n, err := content.Read(x.buf[:1]); n > 0 || err != io.EOF {
				return io.ErrUnexpectedEOF
			}
			return f.Truncate(size)
		default:
			return err
		}
	}
}

func zeros(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
