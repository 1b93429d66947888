//go:build linux

// Package userns makes user namespaces, and mounts that show files with a namespace's owners.
//
// Make gives a namespace without anybody in it, Map a detached mount. The package does not choose ranges of users: that is
// the engine's.
package userns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Range says that users and groups 0 to Size-1 of a namespace are Base to Base+Size-1 on the host.
type Range struct{ Base, Size uint32 }

// Namespaces are handles; close them.
type Namespaces struct {
	User *os.File
	Net  *os.File // owned by User; nil if none was asked for
}

// Close closes the handles. Namespaces that are pinned, or have processes in them, go on.
func (n *Namespaces) Close() {
	n.User.Close()
	if n.Net != nil {
		n.Net.Close()
	}
}

// Make makes a user namespace, and a network namespace that belongs to it if asked for.
//
// A namespace is born with a process. This one is traced, so that it stops before its first instruction, and is killed as
// soon as the handles are open.
func Make(r Range, withNet bool) (*Namespaces, error) {
	type result struct {
		ns  *Namespaces
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // the tracer is a thread
		defer runtime.UnlockOSThread()
		ns, err := born(r, withNet)
		done <- result{ns, err}
	}()
	out := <-done
	if out.err != nil {
		return nil, fmt.Errorf("make user namespace: %w", out.err)
	}
	return out.ns, nil
}

func born(r Range, withNet bool) (*Namespaces, error) {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(r.Base), Size: int(r.Size)}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true, Ptrace: true,
		Pdeathsig: syscall.SIGKILL,
	}
	if withNet {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	ns := &Namespaces{}
	var err error
	if ns.User, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid)); err != nil {
		return nil, err
	}
	if withNet {
		if ns.Net, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)); err != nil {
			ns.User.Close()
			return nil, err
		}
	}
	return ns, nil
}

// Map opens a detached copy of what is mounted at path. With a namespace, files that the host's root owns belong to that
// namespace's root there, and the other way round; nil shows them as they are. EINVAL means that the file system cannot.
func Map(path string, user *os.File, recursive bool) (*os.File, error) {
	attr := &unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if user != nil {
		attr.Attr_set, attr.Userns_fd = unix.MOUNT_ATTR_IDMAP, uint64(user.Fd())
	}
	return detached(path, recursive, attr)
}

// Follow opens a detached copy of what is mounted at path, in which later mounts of the host appear, and none the other way.
func Follow(path string, recursive bool) (*os.File, error) {
	return detached(path, recursive, &unix.MountAttr{Propagation: unix.MS_SLAVE})
}

func detached(path string, recursive bool, attr *unix.MountAttr) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	at := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
		at |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	tree := os.NewFile(uintptr(fd), path)
	if err := unix.MountSetattr(fd, "", at, attr); err != nil {
		tree.Close()
		return nil, &os.PathError{Op: "set attributes of", Path: path, Err: err}
	}
	return tree, nil
}

// Attach mounts a detached mount at target and closes its handle.
func Attach(tree *os.File, target string) error {
	defer tree.Close()
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "mount", Path: target, Err: err}
	}
	return nil
}
