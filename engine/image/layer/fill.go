//go:build linux

package layer

import (
	"io"
	"os"

	"github.com/shoal-dev/shoal/internal/sparse"
)

// fill writes a file's content and leaves out blocks of zeros: a layer of ten kilobytes may bring a file of any length without
// content, which would take all of the disk, and in one entry that nobody could stop.
func (x *extractor) fill(f *os.File, content io.Reader) error {
	n, err := sparse.Copy(x.ctx, f, content, x.buf)
	x.bytes += n
	return err
}
