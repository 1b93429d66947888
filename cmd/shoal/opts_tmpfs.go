package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// tmpfsOptions are those of the kernel that --tmpfs passes on; some have a value.
var tmpfsOptions = []string{"exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "relatime", "uid=", "gid=", "nr_inodes="}

// parseTmpfs reads run's --tmpfs: TARGET[:size=64m,mode=1777,exec].
func parseTmpfs(s string) (*api.Mount, error) {
	target, options, _ := strings.Cut(s, ":")
	m := &api.Mount{Type: api.Mount_TMPFS, Target: target}
	for _, o := range strings.FieldsFunc(options, func(r rune) bool { return r == ',' }) {
		if err := tmpfsOption(m, o); err != nil {
			return nil, err
		}
	}
	return m, checkMount(m, nil)
}

func tmpfsOption(m *api.Mount, o string) error {
	key, value, hasValue := strings.Cut(o, "=")
	switch {
	case key == "size" && strings.HasSuffix(value, "%"): // of the host's memory, which the daemon's host knows
		m.TmpfsOptions = append(m.TmpfsOptions, o)
	case key == "size" || key == "mode":
		return setMountField(m, "tmpfs-"+key, value, hasValue)
	case o == "ro" || o == "rw":
		m.ReadOnly = o == "ro"
	case !hasValue && slices.Contains(tmpfsOptions, key), hasValue && value != "" && slices.Contains(tmpfsOptions, key+"="):
		m.TmpfsOptions = append(m.TmpfsOptions, o)
	default:
		return fmt.Errorf("unknown tmpfs option '%s': use size=, mode=, ro, rw, %s", o, strings.Join(tmpfsOptions, ", "))
	}
	return nil
}
