//go:build linux

package archive

import (
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Info describes what a path names.
type Info struct {
	Name     string
	Size     int64
	Mode     fs.FileMode
	Modified time.Time
	Link     string // where a symbolic link points to, as it is written in it
}

// Stat describes a path. A link at its end is followed if asked for, or if a slash stands behind it.
func (r *Root) Stat(p string, follow bool) (Info, error) {
	fd, err := r.find(p, follow)
	if err != nil {
		return Info{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: p, Err: err}
	}
	info := Info{Name: Base(p), Size: st.Size, Mode: fileMode(st.Mode), Modified: time.Unix(st.Mtim.Unix())}
	if format(&st) == unix.S_IFLNK {
		info.Link, err = readlink(fd)
	}
	return info, err
}

func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= flag
		}
	}
	return mode
}
