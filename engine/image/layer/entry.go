//go:build linux

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment about the whole archive
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return x.rootEntry(h)
	}
	parent, base := path.Split(name)
	if strings.Contains("/"+parent, "/"+metaPrefix) {
		return nil // in aufs' own directories
	}
	dir, err := x.root.dir(strings.TrimSuffix(parent, "/"))
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return x.whiteout(dir, base)
	}
	if err := x.create(dir, base, h, content); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return nil // attributes are the target's
	}
	if h.Typeflag == tar.TypeDir {
		x.dirs = append(x.dirs, dirTime{name, h.ModTime, h.AccessTime})
	}
	return attributes(dir, base, h)
}

func (x *extractor) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("the root of a layer must be a directory")
	}
	x.dirs = append(x.dirs, dirTime{"", h.ModTime, h.AccessTime})
	return attributes(x.root.fd, ".", h)
}

// whiteout hides what lower layers have. It never hides what this layer itself brings, in whichever order they come.
func (x *extractor) whiteout(dir int, base string) error {
	if base == opaqueMarker {
		return setOpaque(dir, ".")
	}
	if strings.HasPrefix(base, metaPrefix) {
		return nil // aufs' own bookkeeping, nothing of the image
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout must name what it hides")
	}
	st, exists, err := lstat(dir, hidden)
	if err != nil {
		return err
	}
	if !exists {
		return unix.Mknodat(dir, hidden, unix.S_IFCHR, 0)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return setOpaque(dir, hidden)
	}
	return nil
}

// create makes the entry without attributes. What the layer had under the name is replaced, save a directory by a directory.
func (x *extractor) create(dir int, base string, h *tar.Header, content io.Reader) error {
	st, exists, err := lstat(dir, base)
	if err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if exists && isDir && h.Typeflag == tar.TypeDir {
		return nil
	}
	wasWhiteout := exists && isWhiteout(st)
	if exists {
		if err := x.root.removeAll(dir, base, isDir); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(dir, base, 0o700); err != nil {
			return fmt.Errorf("mkdir: %w", err)
		}
		if wasWhiteout {
			return setOpaque(dir, base)
		}
		return nil
	//lint:ignore SA1019 TypeRegA is in old archives
	case tar.TypeReg, tar.TypeRegA, tar.TypeCont, tar.TypeGNUSparse:
		return x.file(dir, base, content)
	case tar.TypeLink:
		return x.link(dir, base, h.Linkname)
	case tar.TypeSymlink:
		return wrap("symlink", unix.Symlinkat(h.Linkname, dir, base))
	case tar.TypeChar, tar.TypeBlock:
		return device(dir, base, h)
	case tar.TypeFifo:
		return wrap("mkfifo", unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0))
	}
	return fmt.Errorf("entries of type %q are not supported", h.Typeflag)
}

func (x *extractor) file(dir int, base string, content io.Reader) error {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	f := newFile(fd, base)
	return errors.Join(x.fill(f, content), f.Close())
}

func (x *extractor) link(dir int, base, target string) error {
	name, err := clean(target)
	if err != nil {
		return fmt.Errorf("link to %q: %w", target, err)
	}
	if name == "" {
		return fmt.Errorf("link to %q: a directory cannot be linked", target)
	}
	parent, old := path.Split(name)
	from, err := x.root.open(strings.TrimSuffix(parent, "/"))
	if err != nil {
		return fmt.Errorf("link to %q: %w", target, err)
	}
	defer unix.Close(from)
	if err := unix.Linkat(from, old, dir, base, 0); err != nil {
		return fmt.Errorf("link to %q: %w", target, err)
	}
	return nil
}

func device(dir int, base string, h *tar.Header) error {
	kind := uint32(unix.S_IFBLK)
	if h.Devmajor>>12 != 0 || h.Devminor>>20 != 0 { // the kernel would take the lower bits: 4096:0 for 0:0
		return fmt.Errorf("there is no device %d:%d", h.Devmajor, h.Devminor)
	}
	if h.Typeflag == tar.TypeChar {
		kind = unix.S_IFCHR
		if h.Devmajor == 0 && h.Devminor == 0 {
			return errors.New("device 0:0 means a deleted file to overlayfs, an image cannot bring one")
		}
	}
	return wrap("mknod", unix.Mknodat(dir, base, kind|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))))
}
