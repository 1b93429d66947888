//go:build linux

// Package layer unpacks image layers: tar streams into directories in overlayfs form.
//
// Extract is all of it. Every entry is looked up through openat2 with RESOLVE_IN_ROOT, so that no name and no
// symbolic link in a layer can reach outside the directory. Whiteouts become 0:0 character devices, opaque
// directories get overlayfs' attribute. It needs root. It does not decompress and does not verify digests.
package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	metaPrefix     = ".wh..wh."
	opaqueXattr    = "trusted.overlay.opaque"
	xattrRecord    = "SCHILY.xattr."
)

// ErrEscape says that an entry's name points outside of the layer.
var ErrEscape = errors.New("points outside of the layer")

// extractor holds what is needed between entries.
type extractor struct {
	ctx   context.Context
	root  *root
	dirs  []dirTime // times are set last, as creating entries changes them
	bytes int64
	buf   []byte
}

type dirTime struct {
	name string
	mod  time.Time
	acc  time.Time
}

// Extract unpacks a layer into the empty directory dir and returns how many bytes of file content it held. It reads r
// to its end, so that a digest of the whole can be taken.
func Extract(ctx context.Context, r io.Reader, dir string) (int64, error) {
	root, err := openRoot(dir)
	if err != nil {
		return 0, fmt.Errorf("unpack layer: %w", err)
	}
	defer root.close()
	x := &extractor{ctx: ctx, root: root, buf: make([]byte, 128<<10)}
	if err := x.all(tar.NewReader(r)); err != nil {
		return 0, err
	}
	if _, err := io.CopyBuffer(io.Discard, onlyReader{r}, x.buf); err != nil { // padding behind the archive's end
		return 0, fmt.Errorf("unpack layer: %w", err)
	}
	return x.bytes, nil
}

type onlyReader struct{ io.Reader }

func (x *extractor) all(tr *tar.Reader) error {
	for {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read layer: %w", err)
		}
		if err := x.entry(h, tr); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
	return x.setDirTimes()
}

// clean turns an entry's name into one relative to the root, "" for the root itself.
func clean(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("the name holds a zero byte")
	}
	name = path.Clean(strings.TrimLeft(name, "/"))
	if name == ".." || strings.HasPrefix(name, "../") {
		return "", ErrEscape
	}
	if name == "." {
		return "", nil
	}
	return name, nil
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// setDirTimes goes backwards, so that the last entry for a directory counts and parents come after children.
func (x *extractor) setDirTimes() error {
	done := map[string]bool{}
	for i := len(x.dirs) - 1; i >= 0; i-- {
		d := x.dirs[i]
		if done[d.name] {
			continue
		}
		done[d.name] = true
		fd, err := x.root.open(d.name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // replaced by a later entry
		}
		if err != nil {
			return fmt.Errorf("set times of %q: %w", d.name, err)
		}
		err = setTimes(fd, ".", d.acc, d.mod)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("set times of %q: %w", d.name, err)
		}
	}
	return nil
}
