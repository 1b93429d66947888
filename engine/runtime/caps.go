//go:build linux

package runtime

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capNames in the order of their numbers.
var capNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// capSets are a process's five sets as bit masks.
type capSets struct{ bounding, effective, permitted, inheritable, ambient uint64 }

func capMask(names []string) (uint64, error) {
	var m uint64
next:
	for _, n := range names {
		for i, known := range capNames {
			if strings.EqualFold(n, known) {
				m |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("unknown capability %q", n)
	}
	return m, nil
}

// capabilities reads the spec's sets. What this host does not let us give away is
// left out; the caller of compile has warned about it.
func (b *builder) capabilities(c *specs.LinuxCapabilities) capSets {
	if c == nil {
		c = &specs.LinuxCapabilities{}
	}
	var s capSets
	for _, set := range []struct {
		to    *uint64
		names []string
	}{{&s.bounding, c.Bounding}, {&s.effective, c.Effective}, {&s.permitted, c.Permitted}, {&s.inheritable, c.Inheritable}, {&s.ambient, c.Ambient}} {
		m, err := capMask(set.names)
		if err != nil {
			b.fail(err)
		}
		if !b.userns { // the creator of a user namespace has all of them in it
			m &= b.in.ownCaps
		}
		*set.to = m
	}
	return s
}

// bounding drops what no process of the container may ever have.
func (b *builder) bounding(s capSets) {
	for i := range capNames {
		if s.bounding&(1<<i) == 0 {
			b.do("drop "+capNames[i]+" from the bounding set", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, i, 0, 0, 0).ok(unix.EINVAL)
		}
	}
}

func (b *builder) setCaps(s capSets) {
	hdr := b.words(uint64(unix.LINUX_CAPABILITY_VERSION_3))
	lo := func(v uint64) uint64 { return v & 0xffffffff }
	data := b.words(lo(s.effective)|lo(s.permitted)<<32, lo(s.inheritable)|s.effective>>32<<32, s.permitted>>32|s.inheritable>>32<<32)
	b.do("set capabilities", unix.SYS_CAPSET, hdr, data)
	b.do("clear ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).ignore()
	for i := range capNames {
		if s.ambient&(1<<i) != 0 {
			b.do("raise ambient "+capNames[i], unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, i, 0, 0).warn()
		}
	}
}

// ownCapabilities are those that this process has and can pass on.
func ownCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	all := ^uint64(0)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "CapPrm" && name != "CapBnd" {
			continue
		}
		m, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("read own capabilities: %w", err)
		}
		all &= m
	}
	return all, nil
}

// warnMissingCaps names the requested capabilities that the daemon lacks itself.
func warnMissingCaps(log *slog.Logger, id string, c *specs.LinuxCapabilities, own uint64) {
	if c == nil {
		return
	}
	want, err := capMask(c.Bounding)
	if err != nil {
		return // refused later, with the reason
	}
	var missing []string
	for i, name := range capNames {
		if want&^own&(1<<i) != 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		log.Warn("capabilities left out: the daemon does not have them itself", "container", id, "capabilities", strings.Join(missing, " "))
	}
}
