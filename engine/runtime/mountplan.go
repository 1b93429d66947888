//go:build linux

package runtime

import (
	"fmt"
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountPlan is a mount with its options understood.
type mountPlan struct {
	specs.Mount
	bind, rec   bool
	file        bool // the source is not a directory
	set, clear  uint64
	recAttr     bool // ro and the like for everything below, too
	propagation uint64
	propRec     bool
	data        []string
	tree        reg // detached tree of a bind mount
}

// planMount understands a mount's options; unknown ones are refused by the kernel
// (file systems) or here (bind mounts).
func planMount(m specs.Mount) (mountPlan, error) {
	p := mountPlan{Mount: m}
	if !path.IsAbs(m.Destination) || path.Clean(m.Destination) == "/" {
		return p, fmt.Errorf("mount destination %q: must be an absolute path below /", m.Destination)
	}
	if err := checkProc(m); err != nil {
		return p, err
	}
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return p, fmt.Errorf("mount %s: id-mapped mounts are not supported", m.Destination)
	}
	p.bind = m.Type == "bind"
	for _, o := range m.Options {
		if !p.option(o) {
			p.data = append(p.data, o)
		}
	}
	if !p.bind {
		if p.Type == "" {
			return p, fmt.Errorf("mount %s: type is missing", m.Destination)
		}
		return p, nil
	}
	if len(p.data) > 0 {
		return p, fmt.Errorf("mount %s: unknown option %q for a bind mount", m.Destination, p.data[0])
	}
	st, err := os.Stat(m.Source)
	if err != nil {
		return p, fmt.Errorf("bind mount on %s: %w", m.Destination, err)
	}
	p.file = !st.IsDir()
	return p, nil
}

// option understands one option; false leaves it to the file system.
func (p *mountPlan) option(o string) bool {
	if rest, ok := strings.CutPrefix(o, "r"); ok && recursive[rest] {
		o, p.recAttr = rest, true
	}
	switch o {
	case "bind":
		p.bind = true
	case "rbind":
		p.bind, p.rec = true, true
	case "defaults", "async", "mand", "nomand":
	default:
		return p.attribute(o) || p.propagate(o)
	}
	return true
}

// attributes are the mount attributes that an option sets and clears. How access times are noted is one
// field, which the kernel wants cleared as a whole before it is set.
var attributes = map[string]struct{ set, clear uint64 }{
	"ro":          {set: unix.MOUNT_ATTR_RDONLY},
	"rw":          {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":      {set: unix.MOUNT_ATTR_NOSUID},
	"suid":        {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":       {set: unix.MOUNT_ATTR_NODEV},
	"dev":         {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":      {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":        {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime":  {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":    {clear: unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow": {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"relatime":    {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
}

// recursive are the attributes that have a form for everything below, too: rro.
var recursive = map[string]bool{
	"ro": true, "rw": true, "nosuid": true, "suid": true, "nodev": true, "dev": true, "noexec": true, "exec": true,
}

// attribute takes one up: of two that contradict each other the later one counts.
func (p *mountPlan) attribute(o string) bool {
	a, ok := attributes[o]
	p.set = p.set&^a.clear | a.set
	p.clear = p.clear&^a.set | a.clear
	return ok
}

// propagations are the kernel's; with an r before them they are for everything below, too.
var propagations = map[string]uint64{"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "shared": unix.MS_SHARED}

func (p *mountPlan) propagate(o string) bool {
	name, rec := strings.CutPrefix(o, "r")
	flag, ok := propagations[name]
	if ok {
		p.propagation, p.propRec = flag, rec
	}
	return ok
}
