//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// ociMounts are the mounts of a container besides the default ones.
func (e *Engine) ociMounts(c *container) ([]specs.Mount, error) {
	row := c.get()
	var out []specs.Mount
	for _, p := range row.Mounts {
		m, err := ociMount(p, asked(p))
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	dir := c.dir
	if joinsContainer(row.NetworkMode) {
		dir = e.rowDir(strings.TrimPrefix(row.NetworkMode, "container:"))
	}
	options := []string{"rbind", "rprivate"}
	if row.Spec.GetReadOnly() {
		options = append(options, "ro") // they are files of its root, for the container
	}
	for _, name := range etcFiles {
		target := "/etc/" + name
		if slices.ContainsFunc(row.Mounts, func(p *api.MountPoint) bool { return p.Destination == target }) {
			continue
		}
		if name == "hostname" && row.Spec.UtsMode == "host" {
			continue
		}
		out = append(out, specs.Mount{
			Destination: target, Type: "bind", Source: filepath.Join(dir, name), Options: options,
		})
	}
	return out, nil
}

func ociMount(p *api.MountPoint, m *api.Mount) (specs.Mount, error) {
	if p.Type == "tmpfs" {
		return tmpfsMount(p, m), nil
	}
	if _, err := os.Stat(p.Source); err != nil {
		return specs.Mount{}, fmt.Errorf("mount %s: %w", p.Destination, err)
	}
	bind, propagation := "rbind", m.Propagation
	if m.NonRecursive {
		bind = "bind"
	}
	if propagation == "" {
		propagation = "rprivate"
	}
	return specs.Mount{
		Destination: p.Destination, Type: "bind", Source: p.Source, Options: []string{bind, propagation, access(p, m)},
	}, nil
}

// access: what is mounted below a read-only source is read-only as well, unless told otherwise. Every kernel that can run
// our runtime can do that.
func access(p *api.MountPoint, m *api.Mount) string {
	switch {
	case !p.ReadOnly:
		return "rw"
	case m.NonRecursive || m.ReadOnlyRecursion == "writable":
		return "ro"
	default:
		return "rro"
	}
}

func tmpfsMount(p *api.MountPoint, m *api.Mount) specs.Mount {
	options := append([]string{"nosuid", "nodev", "noexec"}, m.TmpfsOptions...)
	if p.ReadOnly {
		options = append(options, "ro")
	}
	if m.TmpfsSizeBytes > 0 {
		options = append(options, fmt.Sprintf("size=%d", m.TmpfsSizeBytes))
	}
	if m.TmpfsMode != 0 {
		options = append(options, fmt.Sprintf("mode=%o", m.TmpfsMode))
	}
	return specs.Mount{Destination: p.Destination, Type: "tmpfs", Source: "tmpfs", Options: options}
}

func shmSize(s *api.ContainerSpec) int64 {
	if s.GetShmSize() > 0 {
		return s.ShmSize
	}
	return spec.DefaultShmSize
}

// openSource opens what is to be mounted: the source, or what the subpath names in it.
func openSource(p *api.MountPoint) (*os.File, error) {
	sub := asked(p).Subpath
	if sub == "" {
		fd, err := unix.Open(p.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: p.Source, Err: err}
		}
		return os.NewFile(uintptr(fd), p.Source), nil
	}
	f, err := inRoot(p.Source, sub)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("volume %s has no %s: make it first", p.Name, sub)
	}
	if err != nil {
		return nil, fmt.Errorf("volume %s: subpath: %w", p.Name, err)
	}
	return f, nil
}

// inRoot finds a path as a process whose root is root would: no symbolic link leads out of it. What is there is not opened to be
// read: an image or a container may have made it a device, and to open a watchdog's is to start it.
func inRoot(root, name string) (*os.File, error) {
	base, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(base)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(base, strings.TrimPrefix(name, "/"), how)
	for err == unix.EAGAIN || err == unix.EINTR { // somebody renamed something meanwhile
		fd, err = unix.Openat2(base, strings.TrimPrefix(name, "/"), how)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
