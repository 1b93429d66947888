//go:build linux

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var mounts = []struct{ kind, at, data string }{
	{"proc", "/proc", ""},
	{"sysfs", "/sys", ""},
	{"devtmpfs", "/dev", ""},
	{"devpts", "/dev/pts", "ptmxmode=666,gid=5"},
	{"tmpfs", "/dev/shm", ""},
	{"tmpfs", "/run", "mode=755"},
	{"tmpfs", "/tmp", ""},
	{"cgroup2", "/sys/fs/cgroup", "nsdelegate"},
	{"bpf", "/sys/fs/bpf", ""},
}

func mountAll() error {
	if err := leaveRootfs(); err != nil {
		return err
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("%s: %w", m.at, err)
		}
	}
	// As systemd does: a container's mounts must not depend on being on a host where nothing propagates.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// mountDisk: what containers write is on a real file system, as on a real host; a tmpfs knows no user attributes.
func mountDisk() error {
	const disk, at = "/dev/vda", "/var"
	if err := unix.Mount(disk, at, "ext4", 0, ""); err != nil {
		return fmt.Errorf("%s on %s: %w", disk, at, err)
	}
	return os.MkdirAll("/var/tmp", 0o1777)
}

// leaveRootfs puts a mount of the initramfs over the initramfs: nobody can pivot_root away from the kernel's first mount.
func leaveRootfs() error {
	const at = "/mnt"
	if err := unix.Mount("/", at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the root: %w", err)
	}
	if err := unix.Chdir(at); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}
