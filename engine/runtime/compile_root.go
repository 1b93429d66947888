//go:build linux

package runtime

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// rootfs builds the container's view of the file system and makes it the root.
//
// Sources of bind mounts are cloned first, while mounts still propagate as on the
// host. All targets are resolved by openat2 below the new root, never following a
// link out of it, and mounts are moved to the descriptors that gives.
func (b *builder) rootfs() {
	s := b.in.spec
	plans := b.planMounts()
	b.newRoot()
	b.do("", unix.SYS_UMASK, 0)
	for i := range plans {
		b.mount(&plans[i])
	}
	ownDev := ownsDev(plans)
	b.devices(ownDev)
	if hasEarlyHooks(s.Hooks) {
		b.ask(wire.MsgHooks)
	}
	b.sysctls()
	b.guard(s.Linux.ReadonlyPaths, s.Linux.MaskedPaths)
	b.dropKernel()
	b.pivot()
	b.labelQueues(plans)
	if ownDev {
		b.devLinks()
	}
	if s.Process.Terminal {
		b.terminal(s.Process.User, ownDev)
	}
	if s.Root.Readonly {
		attr := b.mountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0)
		b.do("make the root read-only", unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, "/", 0, attr, 32)
	}
}

// planMounts understands all mounts and clones the sources of those that bind something.
func (b *builder) planMounts() []mountPlan {
	plans := make([]mountPlan, 0, len(b.in.spec.Mounts))
	for _, m := range b.in.spec.Mounts {
		plan, err := planMount(m)
		if err != nil {
			b.fail(err)
			return nil
		}
		if plan.bind {
			b.cloneSource(&plan)
		}
		plans = append(plans, plan)
	}
	return plans
}

// ownsDev says whether /dev is a file system of the container's own to be filled.
func ownsDev(plans []mountPlan) bool {
	own := true
	for _, m := range plans {
		if path.Clean(m.Destination) == "/dev" {
			own = !m.bind
		}
	}
	return own
}

func (b *builder) newRoot() {
	flags := unix.MS_REC | unix.MS_PRIVATE
	switch p := b.in.spec.Linux.RootfsPropagation; p {
	case "", "private", "rprivate":
	case "slave", "rslave":
		flags = unix.MS_REC | unix.MS_SLAVE
	default:
		b.fail(fmt.Errorf("linux.rootfsPropagation %q is not supported: private or slave", p))
	}
	b.do("separate mounts from the host", unix.SYS_MOUNT, "", "/", 0, flags, 0)
	b.do("bind "+b.in.root, unix.SYS_MOUNT, b.in.root, b.in.root, 0, unix.MS_BIND|unix.MS_REC, 0)
	b.root = b.newReg()
	b.do("open "+b.in.root, unix.SYS_OPENAT, unix.AT_FDCWD, b.in.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC).to(b.root)
}

func (b *builder) pivot() {
	b.do("enter the root", unix.SYS_FCHDIR, b.root)
	b.do("pivot_root", unix.SYS_PIVOT_ROOT, ".", ".")
	b.do("detach the host's root", unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	b.do("enter the root", unix.SYS_CHDIR, "/")
	b.do("", unix.SYS_CLOSE, b.root)
}
