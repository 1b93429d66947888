//go:build linux

package archive

import (
	"archive/tar"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// header describes an open file; nil for what cannot be in an archive (sockets).
func header(fd int, st *unix.Stat_t, name string) (*tar.Header, error) {
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), Format: tar.FormatPAX,
		ModTime: time.Unix(st.Mtim.Unix()),
	}
	switch format(st) {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFLNK:
		link, err := readlink(fd)
		h.Typeflag, h.Linkname = tar.TypeSymlink, link
		return h, err
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if format(st) == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
		return h, nil
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
		return h, nil
	default:
		return nil, nil
	}
	return h, xattrs(fd, h)
}

// xattrs adds capabilities and what users have set; the rest belongs to this host.
func xattrs(fd int, h *tar.Header) error {
	buf := make([]byte, 4096)
	n, err := unix.Listxattr(fdPath(fd), buf)
	if err == unix.ERANGE {
		buf = make([]byte, 64<<10)
		n, err = unix.Listxattr(fdPath(fd), buf)
	}
	if err != nil || n <= 0 {
		return nil // the file system has none
	}
	for _, name := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if name != "security.capability" && !strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Getxattr(fdPath(fd), name, value)
		if err != nil {
			continue // taken away meanwhile
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = string(value[:n])
	}
	return nil
}
