package spec

import (
	"fmt"
	"slices"
	"strings"
)

// allCaps are the kernel's capabilities in the order of their numbers.
var allCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// defaultCaps are the fourteen that Docker leaves to a container.
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// CapNames returns the names of the capabilities whose bits are set, as in /proc/self/status.
func CapNames(mask uint64) []string {
	var names []string
	for i, c := range allCaps {
		if mask&(1<<i) != 0 {
			names = append(names, c)
		}
	}
	return names
}

// capabilities applies --cap-add and --cap-drop as Docker does: ALL on one side means that the
// other side names the exceptions. The result is in the kernel's order.
func capabilities(privileged bool, add, drop, bounding []string) ([]string, error) {
	addAll, add, err := normalizeCaps("--cap-add", add)
	if err != nil {
		return nil, err
	}
	dropAll, drop, err := normalizeCaps("--cap-drop", drop)
	if err != nil {
		return nil, err
	}
	available := bounding
	if available == nil {
		available = allCaps
	}
	var base []string
	switch {
	case privileged, addAll:
		base = available
	case dropAll:
		base = nil
	default:
		base = defaultCaps
	}
	keep := func(c string) bool {
		if slices.Contains(add, c) && !(slices.Contains(drop, c) && addAll) {
			return true
		}
		return slices.Contains(base, c) && (privileged || !slices.Contains(drop, c))
	}
	var out []string
	for _, c := range allCaps {
		if keep(c) {
			out = append(out, c)
		}
	}
	return out, nil
}

// normalizeCaps accepts net_admin, NET_ADMIN and CAP_NET_ADMIN.
func normalizeCaps(field string, in []string) (all bool, out []string, err error) {
	for _, c := range in {
		name := strings.ToUpper(strings.TrimSpace(c))
		if name == "ALL" || name == "CAP_ALL" {
			all = true
			continue
		}
		if !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		if !slices.Contains(allCaps, name) {
			return false, nil, fmt.Errorf("%s: unknown capability %q", field, c)
		}
		out = append(out, name)
	}
	return all, out, nil
}
