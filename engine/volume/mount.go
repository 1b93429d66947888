//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountSpec is what a volume's options ask to be mounted.
type mountSpec struct {
	fstype string // empty: nothing
	device string
	flags  uintptr
	data   []string
}

func fileSystems() []string {
	return []string{"none", "bind", "tmpfs", "nfs", "nfs4", "cifs", "ext4", "xfs", "btrfs"}
}

// parseMount reads the options type, device and o as mount(8) has them. Unknown ones are refused.
func parseMount(options map[string]string) (mountSpec, error) {
	var m mountSpec
	if len(options) == 0 {
		return m, nil
	}
	for k := range options {
		if k != "type" && k != "device" && k != "o" {
			return m, fmt.Errorf("option %q is not known: there are type, device and o", k)
		}
	}
	m.fstype, m.device = options["type"], options["device"]
	if err := m.parseFlags(options["o"]); err != nil {
		return m, err
	}
	if m.fstype == "" && m.flags&unix.MS_BIND != 0 {
		m.fstype = "none"
	}
	return m, m.check()
}

func (m *mountSpec) parseFlags(o string) error {
	for opt := range strings.SplitSeq(o, ",") {
		f, ok := flagOf(opt)
		switch {
		case opt == "":
		case ok && f.clear:
			m.flags &^= f.bits
		case ok:
			m.flags |= f.bits
		default:
			m.data = append(m.data, opt)
		}
	}
	return nil
}

func (m *mountSpec) check() error {
	switch {
	case m.fstype == "":
		return errors.New("option type is missing: tmpfs, nfs or none with o=bind")
	case !slices.Contains(fileSystems(), m.fstype):
		return fmt.Errorf("type %q is not known: there are %s", m.fstype, strings.Join(fileSystems(), ", "))
	case m.device == "" && m.fstype != "tmpfs":
		return fmt.Errorf("type %s needs the option device", m.fstype)
	case m.isBind() && m.flags&unix.MS_BIND == 0:
		return fmt.Errorf("type %s needs o=bind", m.fstype)
	case m.isBind() && !filepath.IsAbs(m.device):
		return fmt.Errorf("device %q must be an absolute path", m.device)
	case m.isBind() && len(m.data) > 0:
		return fmt.Errorf("option o=%s means nothing to a bind mount", strings.Join(m.data, ","))
	}
	return nil
}

func (m *mountSpec) isBind() bool { return m.fstype == "none" || m.fstype == "bind" }

type mountFlag struct {
	bits  uintptr
	clear bool
}

func flagOf(opt string) (mountFlag, bool) {
	switch opt {
	case "defaults", "auto", "noauto", "_netdev", "nofail":
		return mountFlag{}, true
	case "ro":
		return mountFlag{bits: unix.MS_RDONLY}, true
	case "rw":
		return mountFlag{bits: unix.MS_RDONLY, clear: true}, true
	case "nosuid":
		return mountFlag{bits: unix.MS_NOSUID}, true
	case "suid":
		return mountFlag{bits: unix.MS_NOSUID, clear: true}, true
	case "nodev":
		return mountFlag{bits: unix.MS_NODEV}, true
	case "dev":
		return mountFlag{bits: unix.MS_NODEV, clear: true}, true
	case "noexec":
		return mountFlag{bits: unix.MS_NOEXEC}, true
	case "exec":
		return mountFlag{bits: unix.MS_NOEXEC, clear: true}, true
	case "sync":
		return mountFlag{bits: unix.MS_SYNCHRONOUS}, true
	case "dirsync":
		return mountFlag{bits: unix.MS_DIRSYNC}, true
	case "noatime":
		return mountFlag{bits: unix.MS_NOATIME}, true
	case "nodiratime":
		return mountFlag{bits: unix.MS_NODIRATIME}, true
	case "relatime":
		return mountFlag{bits: unix.MS_RELATIME}, true
	case "strictatime":
		return mountFlag{bits: unix.MS_STRICTATIME}, true
	case "bind":
		return mountFlag{bits: unix.MS_BIND}, true
	case "rbind":
		return mountFlag{bits: unix.MS_BIND | unix.MS_REC}, true
	}
	return mountFlag{}, false
}

// mount mounts what the volume's options say, once.
func (l *Local) mount(r *row) error {
	m, err := parseMount(r.Options)
	if err != nil {
		return fmt.Errorf("volume %s: %w", r.Name, err)
	}
	if m.fstype == "" {
		return nil
	}
	target := l.data(r.Name)
	mounted, err := isMountPoint(target)
	if err != nil || mounted {
		return err
	}
	if err := m.at(target); err != nil {
		return fmt.Errorf("mount volume %s (%s from %s): %w", r.Name, m.fstype, m.device, err)
	}
	return nil
}

func (m *mountSpec) at(target string) error {
	if !m.isBind() {
		data, err := m.resolved()
		if err != nil {
			return err
		}
		device := m.device
		if device == "" {
			device = m.fstype
		}
		return unix.Mount(device, target, m.fstype, m.flags, data)
	}
	if err := unix.Mount(m.device, target, "", m.flags&(unix.MS_BIND|unix.MS_REC), ""); err != nil {
		return err
	}
	if rest := m.flags &^ (unix.MS_BIND | unix.MS_REC); rest != 0 { // flags of a bind mount take a second call
		if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|rest, ""); err != nil {
			return errors.Join(err, unmount(target))
		}
	}
	return nil
}

// resolved gives the kernel an address where a person wrote addr=NAME.
func (m *mountSpec) resolved() (string, error) {
	data := slices.Clone(m.data)
	for i, opt := range data {
		host, ok := strings.CutPrefix(opt, "addr=")
		if !ok || net.ParseIP(host) != nil {
			continue
		}
		ips, err := net.DefaultResolver.LookupHost(context.Background(), host)
		if err != nil {
			return "", fmt.Errorf("look up %s: %w", host, err)
		}
		data[i] = "addr=" + ips[0]
	}
	return strings.Join(data, ","), nil
}

// isMountPoint does not ask a file server, which may be gone.
func isMountPoint(path string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	if err != nil {
		return false, fmt.Errorf("stat %s: %w", path, err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// unmount unmounts all that is mounted at path; nothing is no error.
func unmount(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
}

// mountedBelow lists what is mounted somewhere in the directory path, itself left out.
func mountedBelow(path string) ([]string, error) {
	path, err := filepath.EvalSymlinks(path) // as the kernel names it
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if point := unescape(f[4]); strings.HasPrefix(point, path+"/") {
			out = append(out, point)
		}
	}
	return out, nil
}

// unescape undoes the kernel's \ooo for blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// usersFile remembers who has a volume mounted.
func (l *Local) usersFile(name string) string { return filepath.Join(l.dir, name, "users.json") }

func (l *Local) users(name string) ([]string, error) {
	var users []string
	if err := readJSON(l.usersFile(name), &users); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("users of volume %s: %w", name, err)
	}
	return users, nil
}

// Mount implements Driver.
func (l *Local) Mount(ctx context.Context, name, user string) (string, error) {
	unlock, err := l.locks.Lock(ctx, name)
	if err != nil {
		return "", fmt.Errorf("mount volume %s: %w", name, err)
	}
	defer unlock()
	r, err := l.read(name)
	if err != nil {
		return "", err
	}
	users, err := l.users(name)
	if err != nil {
		return "", err
	}
	known := slices.Contains(users, user)
	if !known { // remembered before it is true, so that a crash cannot forget it
		if err := writeJSON(l.usersFile(name), append(slices.Clone(users), user)); err != nil {
			return "", fmt.Errorf("mount volume %s: %w", name, err)
		}
	}
	if err := l.mount(r); err != nil {
		if !known {
			err = errors.Join(err, writeJSON(l.usersFile(name), users))
		}
		return "", err
	}
	return l.data(name), nil
}

// Unmount implements Driver.
func (l *Local) Unmount(ctx context.Context, name, user string) error {
	unlock, err := l.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("unmount volume %s: %w", name, err)
	}
	defer unlock()
	if _, err := l.read(name); err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	return l.keep(name, func(u string) bool { return u != user })
}

// keep forgets the users that are not wanted, and unmounts the volume if that leaves none.
func (l *Local) keep(name string, wanted func(user string) bool) error {
	users, err := l.users(name)
	if err != nil {
		return err
	}
	had := len(users)
	users = slices.DeleteFunc(users, func(u string) bool { return !wanted(u) })
	if len(users) == had {
		return nil
	}
	if len(users) == 0 {
		if err := unmount(l.data(name)); err != nil {
			return fmt.Errorf("unmount volume %s: %w", name, err)
		}
	}
	if err := writeJSON(l.usersFile(name), users); err != nil {
		return fmt.Errorf("unmount volume %s: %w", name, err)
	}
	return nil
}

// Reconcile implements Driver.
func (l *Local) Reconcile(ctx context.Context, alive func(user string) bool) error {
	rows, err := l.rows()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range rows {
		errs = append(errs, l.reconcile(ctx, r, alive))
	}
	return errors.Join(errs...)
}

func (l *Local) reconcile(ctx context.Context, r *row, alive func(user string) bool) error {
	unlock, err := l.locks.Lock(ctx, r.Name)
	if err != nil {
		return fmt.Errorf("reconcile volume %s: %w", r.Name, err)
	}
	defer unlock()
	if _, err := l.read(r.Name); err != nil {
		return nil // removed meanwhile
	}
	if err := l.keep(r.Name, alive); err != nil {
		return err
	}
	users, err := l.users(r.Name)
	if err == nil && len(users) > 0 {
		err = l.mount(r)
	}
	return err
}
