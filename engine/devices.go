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
		out = hostDevices()
	}
	for _, d := range s.GetDevices() {
		access := d.Permissions
		if access == "" {
			access = "rwm"
		}
		if strings.Trim(access, "rwm") != "" {
			return nil, nil, errorf(ErrInvalid, "device %s: permissions %q are not made of r, w and m", d.HostPath, access)
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
	var out []specs.LinuxDevice
	err = filepath.WalkDir(host, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(host, path)
		if d, ok := deviceNode(path, filepath.Join(inside, rel)); ok {
			out = append(out, d)
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errorf(ErrInvalid, "device %s: no device node in this directory", host)
	}
	return out, err
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

func hostDevices() []specs.LinuxDevice {
	var out []specs.LinuxDevice
	filepath.WalkDir("/dev", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if filepath.Dir(path) == "/dev" && slices.Contains(ownDev, entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.Type()&fs.ModeDevice != 0 {
			if d, ok := deviceNode(path, path); ok {
				out = append(out, d)
			}
		}
		return nil
	})
	return out
}
