//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// at mounts. The error is one line that says what was to be mounted, and why it could not be.
func (m *mountSpec) at(ctx context.Context, target string) error {
	var err error
	if m.isBind() {
		err = m.bindAt(target)
	} else {
		err = m.mountAt(ctx, target)
	}
	if err != nil {
		return fmt.Errorf("type %s, device %s: %w", m.fstype, m.source(), m.explain(err))
	}
	return nil
}

// explain says in words what the kernel says in a number.
func (m *mountSpec) explain(err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("this kernel cannot mount %s: load its module, or choose another type", m.fstype)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the kernel refuses the options o=%s", strings.Join(m.data, ","))
	case errors.Is(err, unix.ENOENT):
		return errors.New("the device does not exist: make it first")
	}
	return err
}

func (m *mountSpec) source() string {
	if m.device == "" {
		return m.fstype
	}
	return m.device
}

func (m *mountSpec) mountAt(ctx context.Context, target string) error {
	data, err := m.resolved(ctx)
	if err != nil {
		return err
	}
	return unix.Mount(m.source(), target, m.fstype, m.flags, strings.Join(data, ","))
}

func (m *mountSpec) bindAt(target string) error {
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

// resolved gives the kernel an address where a person wrote addr=NAME, or for NFS only the name in HOST:/PATH, as
// mount.nfs does.
func (m *mountSpec) resolved(ctx context.Context) ([]string, error) {
	data := slices.Clone(m.data)
	isAddr := func(o string) bool { return strings.HasPrefix(o, "addr=") }
	if host, _, ok := strings.Cut(m.device, ":/"); ok && m.isNFS() && !slices.ContainsFunc(data, isAddr) {
		data = append(data, "addr="+strings.Trim(host, "[]"))
	}
	for i, opt := range data {
		host, ok := strings.CutPrefix(opt, "addr=")
		if !ok || net.ParseIP(host) != nil {
			continue
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", host, err)
		}
		data[i] = "addr=" + ips[0]
	}
	return data, nil
}

func (m *mountSpec) isNFS() bool { return m.fstype == "nfs" || m.fstype == "nfs4" }
