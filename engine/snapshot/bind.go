//go:build linux

package snapshot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/userns"
)

// bind mounts source at target unless it is there already.
func bind(source, target string, v View) error {
	done, err := mountedAs(target, func(mountInfo) bool { return sameFile(source, target) })
	if done || err != nil {
		return err
	}
	tree, err := userns.Map(source, v.Users, false)
	if err == nil && v.Label != "" { // a bind mount has no label of its own
		err = unix.Lsetxattr(source, "security.selinux", []byte(v.Label), 0)
	}
	if err == nil {
		err = userns.Attach(tree, target)
	}
	if err != nil {
		return fmt.Errorf("mount root file system at %s: %w", target, err)
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
