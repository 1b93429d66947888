//go:build linux

package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// devices resolves those asked for on this host; a privileged container gets all of the host's.
func devices(s *api.ContainerSpec) ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup, error) {
	var out []specs.LinuxDevice
	var rules []specs.LinuxDeviceCgroup
	if s.GetPrivileged() {
		var err error
		if out, err = hostDevices(); err != nil {
			return nil, nil, err
		}
	}
	for _, d := range s.GetDevices() {
		access := d.Permissions
		if access == "" {
			access = "rwm"
		}
		found, err := deviceTree(d.HostPath, d.ContainerPath)
		if err != nil {
			return nil, nil, err
		}
		for _, dev := range found {
			out = slices.DeleteFunc(out, func(o specs.LinuxDevice) bool { return o.Path == dev.Path })
			out = append(out, dev)
			rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: dev.Type, Major: &dev.Major, Minor: &dev.Minor, Access: access})
		}
	}
	for _, r := range s.GetDeviceCgroupRules() {
		rule, err := deviceRule(r)
		if err != nil {
			return nil, nil, err
		}
		rules = append(rules, rule)
	}
	return out, rules, nil
}

// deviceRule reads "c 1:3 rwm"; * is any number, type a is every device.
func deviceRule(s string) (specs.LinuxDeviceCgroup, error) {
	bad := func() (specs.LinuxDeviceCgroup, error) {
		return specs.LinuxDeviceCgroup{}, errorf(ErrInvalid, "device cgroup rule %q is not TYPE MAJOR:MINOR ACCESS, for example \"c 13:* rwm\"", s)
	}
	f := strings.Fields(s)
	if len(f) != 3 || !slices.Contains([]string{"a", "b", "c"}, f[0]) || strings.Trim(f[2], "rwm") != "" {
		return bad()
	}
	r := specs.LinuxDeviceCgroup{Allow: true, Type: f[0], Access: f[2]}
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return bad()
	}
	for _, n := range []struct {
		text string
		to   **int64
	}{{major, &r.Major}, {minor, &r.Minor}} {
		if n.text == "*" {
			continue
		}
		v, err := strconv.ParseInt(n.text, 10, 32)
		if err != nil || v < 0 {
			return bad()
		}
		*n.to = &v
	}
	return r, nil
}

// deviceTree reads a device node, or every one below a directory.
func deviceTree(host, inside string) ([]specs.LinuxDevice, error) {
	if inside == "" {
		inside = host
	}
	info, err := os.Stat(host)
	if err != nil {
		return nil, errorf(ErrInvalid, "device %s: %w", host, err)
	}
	if !info.IsDir() {
		d, ok := deviceNode(host, inside)
		if !ok {
			return nil, errorf(ErrInvalid, "device %s: not a device node", host)
		}
		return []specs.LinuxDevice{d}, nil
	}
	out, err := deviceNodes(host, maxDevices, true, nil)
	if err != nil {
		return nil, err
	}
	for i := range out {
		rel, _ := filepath.Rel(host, out[i].Path)
		out[i].Path = filepath.Join(inside, rel)
	}
	if len(out) == 0 {
		return nil, errorf(ErrInvalid, "device %s: no device node in this directory", host)
	}
	return out, nil
}

func deviceNode(host, inside string) (specs.LinuxDevice, bool) {
	var st unix.Stat_t
	if unix.Stat(host, &st) != nil {
		return specs.LinuxDevice{}, false
	}
	kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
	if kind == "" {
		return specs.LinuxDevice{}, false
	}
	mode := os.FileMode(st.Mode & 0o777)
	return specs.LinuxDevice{
		Path: inside, Type: kind, Major: int64(unix.Major(uint64(st.Rdev))), Minor: int64(unix.Minor(uint64(st.Rdev))),
		FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
	}, true
}

// ownDev are parts of /dev that a container has of its own.
var ownDev = []string{"pts", "shm", "mqueue", "fd", "console", "ptmx", "null", "zero", "full", "random", "urandom", "tty", ".udev", ".lxc", ".lxd-mounts"}

func hostDevices() ([]specs.LinuxDevice, error) {
	out, err := deviceNodes("/dev", maxDevices, false, func(path string) bool {
		return filepath.Dir(path) == "/dev" && slices.Contains(ownDev, filepath.Base(path))
	})
	if err != nil {
		return nil, errorf(ErrInvalid, "--privileged: %w", err)
	}
	return out, nil
}

// maxDevices is how many device nodes a container has at most. Each is made in it, by one or two of the 65536 steps that a start
// may have, and takes some kilobytes of the daemon's memory meanwhile. Large hosts have a few thousand.
const maxDevices = 1 << 14

// deviceNodes lists those below a directory, and what links lead to if asked for, none that skip names. However many files there
// are, it holds few at once.
func deviceNodes(dir string, limit int, links bool, skip func(path string) bool) ([]specs.LinuxDevice, error) {
	var out []specs.LinuxDevice
	for left := []string{dir}; len(left) > 0; {
		next := left[len(left)-1]
		left = left[:len(left)-1]
		err := eachEntry(next, func(path string, kind fs.FileMode) error {
			switch {
			case skip != nil && skip(path):
			case kind.IsDir():
				left = append(left, path)
			case kind&fs.ModeDevice != 0 || links && kind&fs.ModeSymlink != 0:
				d, ok := deviceNode(path, path)
				if !ok {
					return nil
				}
				if out = append(out, d); len(out) > limit {
					return errorf(ErrInvalid, "%s has more than %d device nodes, too many for one container: give those that it needs with --device", dir, limit)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b specs.LinuxDevice) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// eachEntry goes through a directory; one that cannot be read has none.
func eachEntry(dir string, f func(path string, kind fs.FileMode) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	for {
		list, err := d.ReadDir(1024)
		if err != nil {
			return nil
		}
		for _, e := range list {
			if err := f(filepath.Join(dir, e.Name()), e.Type()); err != nil {
				return err
			}
		}
	}
}
