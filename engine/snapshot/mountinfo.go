//go:build linux

package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountInfo is what a line of /proc/self/mountinfo says of a mount.
type mountInfo struct {
	fstype       string
	superOptions []string
}

// mountedAs tells whether the topmost mount at target is the wanted one; another mount there is an error, none is not.
func mountedAs(target string, wanted func(mountInfo) bool) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, target, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st); err != nil {
		return false, fmt.Errorf("mount target %s: %w", target, err)
	}
	// Asking the kernel for this one path first: reading a thousand containers' mounts costs milliseconds.
	known := st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0
	if known && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return false, nil
	}
	m, ok, err := mountAt(target)
	if err != nil || !ok {
		return false, err
	}
	if !wanted(m) {
		return false, fmt.Errorf("mount target %s: a file system of type %s is mounted there already", target, m.fstype)
	}
	return true, nil
}

// mountAt finds the topmost mount whose mount point is target.
func mountAt(target string) (mountInfo, bool, error) {
	target, err := filepath.Abs(target)
	if err != nil {
		return mountInfo{}, false, err
	}
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return mountInfo{}, false, fmt.Errorf("read mounts: %w", err)
	}
	var found mountInfo
	ok := false
	for line := range strings.Lines(string(b)) {
		point, m, err := parseMountInfo(line)
		if err != nil {
			return mountInfo{}, false, err
		}
		if point == target { // later lines lie on top of earlier ones
			found, ok = m, true
		}
	}
	return found, ok, nil
}

// parseMountInfo reads "36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
func parseMountInfo(line string) (point string, m mountInfo, err error) {
	left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	l, r := strings.Split(left, " "), strings.Split(right, " ")
	if !ok || len(l) < 5 || len(r) < 3 {
		return "", m, fmt.Errorf("mountinfo line %q not understood", line)
	}
	m = mountInfo{fstype: r[0], superOptions: strings.Split(unescape(r[2]), ",")}
	return unescape(l[4]), m, nil
}

// unescape undoes the kernel's \040 for a space and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
