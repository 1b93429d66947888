//go:build linux

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// attributes sets owner, then mode (a change of owner clears setuid), then extended attributes (a change of owner
// clears capabilities), then times.
func attributes(dir int, base string, h *tar.Header) error {
	if err := unix.Fchownat(dir, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	if h.Typeflag != tar.TypeSymlink {
		// base is no symbolic link: it has just been made, and nobody else works in here.
		if err := unix.Fchmodat(dir, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	if err := setXattrs(dir, base, h); err != nil {
		return err
	}
	return setTimes(dir, base, h.AccessTime, h.ModTime)
}

func setXattrs(dir int, base string, h *tar.Header) error {
	for k, v := range h.PAXRecords {
		name, ok := strings.CutPrefix(k, xattrRecord)
		if !ok {
			continue
		}
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			return fmt.Errorf("extended attribute %s belongs to overlayfs, an image cannot bring it", name)
		}
		if name == "security.selinux" {
			continue // of another host's policy
		}
		err := setXattr(dir, base, name, v)
		if errors.Is(err, unix.ENOTSUP) && !strings.HasPrefix(name, "security.") {
			continue // the file system has none; what grants rights must not be lost, the rest may
		}
		if err != nil {
			return fmt.Errorf("set extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// setXattr goes through /proc, as there is no setxattrat before Linux 6.13. The last component is not followed.
func setXattr(dir int, base, name, value string) error {
	return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir, base), name, []byte(value), 0)
}

func setOpaque(dir int, base string) error {
	return wrap("mark opaque", setXattr(dir, base, opaqueXattr, "y"))
}

func setTimes(dir int, base string, acc, mod time.Time) error {
	if acc.IsZero() {
		acc = mod
	}
	ts := []unix.Timespec{timespec(acc), timespec(mod)}
	return wrap("set times", unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW))
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}
