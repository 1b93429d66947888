// Package sparse writes files whose zeros take no room on the disk. An archive holds them as zeros: a disk image of 10 GB with
// nothing in it would become 10 GB.
package sparse

import (
	"bytes"
	"context"
	"io"
	"os"
)

// Block is what becomes a hole, if it holds zeros alone and begins at a multiple of its length.
const Block = 4096

// Copy writes all that r gives into an empty file, at its beginning. buf is for what is read, a multiple of Block; what
// is not zero is written in as few calls as io.CopyBuffer would take. It ends with ctx: an archive of ten kilobytes can hold
// zeros for hours.
func Copy(ctx context.Context, f *os.File, r io.Reader, buf []byte) (size int64, err error) {
	written := int64(0) // up to where
	for err == nil {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		var n int
		n, err = fill(r, buf)
		end, failed := writeData(f, buf[:n], size)
		if failed != nil {
			return size, failed
		}
		size, written = size+int64(n), max(written, end)
	}
	if err != io.EOF {
		return size, err
	}
	if written < size { // what ends in a hole has its length, too
		return size, f.Truncate(size)
	}
	return size, nil
}

// fill reads until the buffer is full or r has no more.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// writeData writes what lies between blocks of zeros to its place, and says where the last of it ends.
func writeData(f *os.File, data []byte, at int64) (end int64, err error) {
	for len(data) > 0 {
		hole := length(data, true)
		run := length(data[hole:], false)
		if run > 0 {
			if _, err := f.WriteAt(data[hole:hole+run], at+int64(hole)); err != nil {
				return end, err
			}
			end = at + int64(hole+run)
		}
		data, at = data[hole+run:], at+int64(hole+run)
	}
	return end, nil
}

// length is how much data begins with that is, or is not, blocks of zeros. The last block may be shorter.
func length(data []byte, empty bool) (n int) {
	for n < len(data) {
		end := min(n+Block, len(data))
		if isZero(data[n:end]) != empty {
			return n
		}
		n = end
	}
	return n
}

// isZero compares each byte with the one before it, which is fast, and ends at once for most data.
func isZero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }
