//go:build linux

package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// attributes gives what was just made at base the owner, mode, extended attributes and times of its entry: in this order,
// since each clears some of the next. All go to one open file: the container may have put a link there meanwhile, and a
// link must not be followed by this process.
func attributes(parent int, base string, h *tar.Header) error {
	fd, st, gone, err := child(parent, base)
	if err != nil || gone {
		return err
	}
	defer unix.Close(fd)
	return attributesOf(fd, &st, h)
}

// attributesOf does it to an open file.
func attributesOf(fd int, st *unix.Stat_t, h *tar.Header) error {
	if err := unix.Fchownat(fd, "", h.Uid, h.Gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	if format(st) != unix.S_IFLNK {
		if err := unix.Chmod(fdPath(fd), uint32(h.Mode)&0o7777); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
		if err := setXattrs(fd, h); err != nil {
			return err
		}
	}
	return setTimes(fd, h)
}

func setXattrs(fd int, h *tar.Header) error {
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, "SCHILY.xattr.")
		if !ok || strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "user.overlay.") {
			continue // not an archive's to bring
		}
		err := unix.Setxattr(fdPath(fd), name, []byte(value), 0)
		if errors.Is(err, unix.ENOTSUP) && !strings.HasPrefix(name, "security.") {
			continue // the file system has none
		}
		if err != nil {
			return fmt.Errorf("set extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func setTimes(fd int, h *tar.Header) error {
	if h.ModTime.IsZero() {
		return nil
	}
	access := h.AccessTime
	if access.IsZero() {
		access = h.ModTime
	}
	times := []unix.Timespec{timespec(access), timespec(h.ModTime)}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(fd), times, 0); err != nil && err != unix.ELOOP {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}
