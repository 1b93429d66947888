//go:build linux

package fstree

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes copies owner, mode, extended attributes and times, in the order in which none undoes another.
func attributes(from, to *os.File, src, dst string, st unix.Stat_t) error {
	fd := int(to.Fd())
	if err := unix.Fchownat(fd, dst, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := chmod(fd, dst, st.Mode&0o7777); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	if err := xattrs(at(from, src), at(to, dst)); err != nil {
		return err
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(fd, dst, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// chmod does not follow a link that was put in the file's place: it opens what is there first.
func chmod(dir int, name string, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}

func xattrs(src, dst string) error {
	size, err := unix.Llistxattr(src, nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(src, list); err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || name == "security.selinux" {
			continue // how overlayfs keeps the source, and what this host's policy calls it: no part of it
		}
		if err := xattr(src, dst, name); err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func xattr(src, dst, name string) error {
	value := make([]byte, 64<<10) // the kernel's limit
	n, err := unix.Lgetxattr(src, name, value)
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	if err != nil {
		return err
	}
	err = unix.Lsetxattr(dst, name, value[:n], 0)
	if errors.Is(err, unix.ENOTSUP) && !strings.HasPrefix(name, "security.capability") {
		return nil // the other file system has none of this kind
	}
	return err
}
