package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultShmSize of /dev/shm, bytes.
const DefaultShmSize = 64 << 20

// maskedPaths leak facts about the host or let a container act on it.
var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// mounts puts the default ones first and the container's own after them, a mount point always before what is
// mounted below it. A mount of the container's own replaces a default one on the same path.
func mounts(o Options) []specs.Mount {
	all := defaultMounts(o)
	for _, m := range o.Mounts {
		all = slices.DeleteFunc(all, func(d specs.Mount) bool { return d.Destination == m.Destination })
	}
	own := slices.Clone(o.Mounts)
	slices.SortStableFunc(own, func(a, b specs.Mount) int { return depth(a.Destination) - depth(b.Destination) })
	return append(all, own...)
}

func depth(p string) int { return strings.Count(path.Clean(p), "/") }

func defaultMounts(o Options) []specs.Mount {
	access := "ro"
	if o.Spec.GetPrivileged() {
		access = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		sysMount(o, access),
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{access, "nosuid", "noexec", "nodev"}},
		mqueueMount(o),
		shmMount(o),
	}
}

// sysMount: a user namespace may only mount the sysfs of a network namespace that belongs to it.
func sysMount(o Options, access string) specs.Mount {
	if o.Namespaces.User != "" && o.Namespaces.Net == "host" {
		return specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"}}
	}
	return specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}}
}

func mqueueMount(o Options) specs.Mount {
	if o.Namespaces.IPC == "host" {
		return specs.Mount{Destination: "/dev/mqueue", Type: "bind", Source: "/dev/mqueue", Options: []string{"rbind", "nosuid", "noexec", "nodev"}}
	}
	return specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}}
}

func shmMount(o Options) specs.Mount {
	if o.ShmSource != "" {
		return specs.Mount{Destination: "/dev/shm", Type: "bind", Source: o.ShmSource, Options: []string{"rbind", "nosuid", "noexec", "nodev", "rprivate"}}
	}
	size := o.Spec.GetShmSize()
	if size == 0 {
		size = DefaultShmSize
	}
	return specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
		Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(size, 10)}}
}
