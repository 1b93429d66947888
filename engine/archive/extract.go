//go:build linux

package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/fstree"
)

// ErrInvalid says that an archive cannot be unpacked as it is asked for.
var ErrInvalid = errors.New("invalid archive")

// ExtractOptions say how to unpack.
type ExtractOptions struct {
	Owner       *Owner // nil: whom the archive names
	NoOverwrite bool   // refuse to replace a directory by a file and the other way round
}

// Owner of every file that is unpacked.
type Owner struct{ UID, GID int }

type extractor struct {
	ctx  context.Context
	root *Root
	dir  string
	opts ExtractOptions
	dirs []*tar.Header // their times are set last, as entries change them
	buf  []byte
}

// Extract unpacks a tar into the directory dir, which must be there. What exists is replaced, directories are kept.
func (r *Root) Extract(ctx context.Context, dir string, in io.Reader, o ExtractOptions) error {
	abs, _ := clean(dir)
	fd, err := r.open(abs, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	unix.Close(fd)
	x := &extractor{ctx: ctx, root: r, dir: abs, opts: o, buf: make([]byte, 128<<10)}
	for tr := tar.NewReader(in); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return x.setDirTimes()
		}
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if err != nil {
			return err
		}
		if err := x.entry(h, tr); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

// inside is an entry's name below the directory; "" for the directory itself.
func inside(name string) (string, error) {
	name = path.Clean(strings.TrimLeft(name, "/"))
	if name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: the name leads out of the directory", ErrInvalid)
	}
	if name == "." {
		name = ""
	}
	return name, nil
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := inside(h.Name)
	if err != nil || name == "" {
		return err
	}
	if x.opts.Owner != nil {
		h.Uid, h.Gid = x.opts.Owner.UID, x.opts.Owner.GID
	}
	full := path.Join(x.dir, name)
	if err := x.root.MkdirAll(path.Dir(full)); err != nil {
		return err
	}
	parent, err := x.root.open(path.Dir(full), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if x.root.Users.shows(x.root.fd, parent) {
		h.Uid, h.Gid = x.root.Users.outside(h.Uid), x.root.Users.outside(h.Gid)
	}
	return x.put(parent, path.Base(full), full, h, content)
}

// put makes what an entry says. Whatever is no directory gets its name last: a copy that is cut off leaves what was there.
func (x *extractor) put(parent int, base, full string, h *tar.Header, content io.Reader) error {
	inPlace, err := x.makeRoom(parent, base, h)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(parent, base, 0o700); err != nil && err != unix.EEXIST {
			return err
		}
		x.dirs = append(x.dirs, &tar.Header{Name: full, ModTime: h.ModTime, AccessTime: h.AccessTime})
		return attributes(parent, base, h)
	case tar.TypeReg:
		b, err := newBeside(parent)
		if err != nil {
			return err
		}
		defer b.close()
		if err := b.fill(x.ctx, h, content, x.buf); err != nil {
			return err
		}
		if inPlace {
			return b.overwrite(base)
		}
		return b.become(base)
	}
	hidden := hiddenName()
	err = x.create(parent, hidden, h)
	if err == nil && h.Typeflag != tar.TypeLink { // whose file has its attributes already
		err = attributes(parent, hidden, h)
	}
	if err == nil {
		err = replace(parent, hidden, base)
	}
	if err != nil {
		unix.Unlinkat(parent, hidden, 0)
	}
	return err
}

// makeRoom removes what an entry replaces and a rename would not. What is mounted, as /etc/hosts is, is written in place: the
// kernel would let us, who are outside of the container's mount namespace, replace it, and take the mount away.
func (x *extractor) makeRoom(parent int, base string, h *tar.Header) (inPlace bool, err error) {
	var st unix.Statx_t
	err = unix.Statx(parent, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	was, becomes := st.Mode&unix.S_IFMT == unix.S_IFDIR, h.Typeflag == tar.TypeDir
	mounted := st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	switch {
	case was && becomes:
		return false, nil
	case was && x.opts.NoOverwrite:
		return false, fmt.Errorf("%w: cannot overwrite a directory with what is none", ErrInvalid)
	case becomes && x.opts.NoOverwrite:
		return false, fmt.Errorf("%w: cannot overwrite what is no directory with one", ErrInvalid)
	case mounted && st.Mode&unix.S_IFMT == unix.S_IFREG && h.Typeflag == tar.TypeReg:
		return true, nil
	case mounted:
		return false, fmt.Errorf("%w: cannot replace what is mounted", ErrInvalid)
	case was == becomes:
		return false, nil
	}
	return false, fstree.RemoveAt(parent, base)
}

// create makes what has no content.
func (x *extractor) create(parent int, base string, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeSymlink:
		return unix.Symlinkat(h.Linkname, parent, base)
	case tar.TypeLink:
		return x.link(parent, base, h.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		mode := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
		return unix.Mknodat(parent, base, mode|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	}
	return fmt.Errorf("%w: entries of type %q are not supported", ErrInvalid, h.Typeflag)
}

// link makes one more name for a file of the same archive.
func (x *extractor) link(parent int, base, target string) error {
	name, err := inside(target)
	if err != nil {
		return err
	}
	fd, err := x.root.open(path.Join(x.dir, name), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Linkat(fd, "", parent, base, unix.AT_EMPTY_PATH)
}

func (x *extractor) setDirTimes() error {
	for i := len(x.dirs) - 1; i >= 0; i-- {
		fd, err := x.root.open(x.dirs[i].Name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, ErrNotDirectory) {
			continue // taken away meanwhile
		}
		if err != nil {
			return err
		}
		err = setTimes(fd, x.dirs[i])
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("unpack %q: %w", x.dirs[i].Name, err)
		}
	}
	return nil
}
