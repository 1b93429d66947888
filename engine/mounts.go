//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/proto/api"
)

// mountPoints settles what is mounted where: the container's own mounts, those of other containers (volumes_from), and
// an anonymous volume for every VOLUME of the image that nothing covers.
func (e *Engine) mountPoints(req *api.CreateContainerRequest, row *api.Container, image *Image) ([]*api.MountPoint, error) {
	var out []*api.MountPoint
	covered := map[string]bool{}
	add := func(m *api.MountPoint) { out, covered[m.Destination] = append(out, m), true }
	for _, m := range req.Spec.Mounts {
		target := path.Clean(m.Target)
		if !path.IsAbs(m.Target) || target == "/" {
			return nil, errorf(ErrInvalid, "mount target %q is not an absolute path below /", m.Target)
		}
		if covered[target] {
			return nil, errorf(ErrInvalid, "two mounts have the target %s", target)
		}
		point, err := mountPoint(m, target)
		if err != nil {
			return nil, err
		}
		add(point)
	}
	for _, from := range req.VolumesFrom {
		inherited, err := e.inherited(from)
		if err != nil {
			return nil, err
		}
		for _, m := range inherited {
			if !covered[m.Destination] {
				add(m)
			}
		}
	}
	for _, v := range slices.Sorted(maps.Keys(image.Config.Volumes)) {
		if target := path.Clean("/" + v); !covered[target] && target != "/" {
			add(&api.MountPoint{Type: "volume", Name: id.NewHex(), Destination: target})
		}
	}
	return out, nil
}

func mountPoint(m *api.Mount, target string) (*api.MountPoint, error) {
	p := &api.MountPoint{Source: m.Source, Destination: target, ReadOnly: m.ReadOnly}
	switch m.Type {
	case api.Mount_BIND:
		p.Type = "bind"
		return p, checkBind(m)
	case api.Mount_VOLUME:
		p.Type, p.Name, p.Source = "volume", m.Source, ""
		if p.Name == "" {
			p.Name = id.NewHex()
		}
		return p, nil
	case api.Mount_TMPFS:
		p.Type, p.Source = "tmpfs", ""
		if m.Source != "" {
			return nil, errorf(ErrInvalid, "mount %s: tmpfs takes no source", target)
		}
		return p, nil
	default:
		return nil, errorf(ErrInvalid, "mount %s: unknown type %v", target, m.Type)
	}
}

var propagations = []string{"", "rprivate", "private", "rshared", "shared", "rslave", "slave"}

func checkBind(m *api.Mount) error {
	if !filepath.IsAbs(m.Source) {
		return errorf(ErrInvalid, "bind mount source %q is not an absolute path", m.Source)
	}
	if !slices.Contains(propagations, m.Propagation) {
		return errorf(ErrInvalid, "bind mount %s: unknown propagation %q", m.Target, m.Propagation)
	}
	_, err := os.Stat(m.Source)
	if errors.Is(err, fs.ErrNotExist) {
		if !m.CreateSource {
			return errorf(ErrInvalid, "bind mount source %s does not exist: make it first", m.Source)
		}
		err = os.MkdirAll(m.Source, 0o755)
	}
	return err
}

// inherited are the binds and volumes of another container, given as CONTAINER or CONTAINER:ro.
func (e *Engine) inherited(from string) ([]*api.MountPoint, error) {
	ref, mode, _ := strings.Cut(from, ":")
	if mode != "" && mode != "ro" && mode != "rw" {
		return nil, errorf(ErrInvalid, "volumes from %q: the mode is ro or rw", from)
	}
	other, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	var out []*api.MountPoint
	for _, m := range other.get().Mounts {
		if m.Type == "tmpfs" {
			continue
		}
		out = append(out, &api.MountPoint{
			Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, ReadOnly: m.ReadOnly || mode == "ro",
		})
	}
	return out, nil
}

// asked finds the mount that a mount point came from; an empty one for what was inherited.
func asked(row *api.Container, p *api.MountPoint) *api.Mount {
	for _, m := range row.Spec.Mounts {
		if path.Clean(m.Target) == p.Destination {
			return m
		}
	}
	return &api.Mount{}
}

// prepareVolumes makes the volumes that are not there yet, and notes where they are.
func (e *Engine) prepareVolumes(ctx context.Context, c *container) error {
	row := c.get()
	sources := map[string]string{}
	for _, p := range row.Mounts {
		if p.Type != "volume" {
			continue
		}
		m := asked(row, p)
		vol, err := e.ensureVolume(ctx, &api.Volume{
			Name: p.Name, Driver: m.Driver, Options: m.DriverOpts, Labels: m.Labels, Anonymous: isAnonymous(p),
		})
		if err != nil {
			return err
		}
		sources[p.Name] = vol.Mountpoint
	}
	if len(sources) == 0 {
		return nil
	}
	return c.update(func(row *api.Container) {
		for _, p := range row.Mounts {
			if source, ok := sources[p.Name]; ok && p.Type == "volume" {
				p.Source = source
			}
		}
	})
}

func isAnonymous(p *api.MountPoint) bool { return p.Type == "volume" && hexForm.MatchString(p.Name) }

func (e *Engine) releaseVolumes(context.Context, *container) error { return nil }

func (e *Engine) anonymousVolumes(c *container) []string {
	var out []string
	for _, p := range c.get().Mounts {
		if isAnonymous(p) {
			out = append(out, p.Name)
		}
	}
	return out
}

// volumeUsers maps volumes to the names of the containers that have them, leaving one container out.
func (e *Engine) volumeUsers(except string) map[string][]string {
	used := map[string][]string{}
	for _, c := range e.all() {
		if c.id == except {
			continue
		}
		row := c.get()
		for _, p := range row.Mounts {
			if p.Type == "volume" {
				used[p.Name] = append(used[p.Name], row.Name)
			}
		}
	}
	return used
}

// VolumeUsers names the containers that use a volume.
func (e *Engine) VolumeUsers(name string) []string { return e.volumeUsers("")[name] }

// CreateVolume makes a volume; one of this name that is there already is the answer.
func (e *Engine) CreateVolume(ctx context.Context, v *api.Volume) (*api.Volume, error) {
	if v == nil {
		v = &api.Volume{}
	}
	return e.ensureVolume(ctx, v)
}

func (e *Engine) ensureVolume(ctx context.Context, v *api.Volume) (*api.Volume, error) {
	vol, created, err := e.cfg.Volumes.Ensure(ctx, v)
	if created {
		e.announce(aboutVolume, "create", vol.Name, map[string]string{"driver": "local"})
	}
	return vol, err
}

func (e *Engine) dropVolume(ctx context.Context, name string, force bool) error {
	if err := e.cfg.Volumes.Remove(ctx, name, force); err != nil {
		return err
	}
	e.announce(aboutVolume, "destroy", name, map[string]string{"driver": "local"})
	return nil
}

// RemoveVolume deletes a volume that no container uses.
func (e *Engine) RemoveVolume(ctx context.Context, name string, force bool) error {
	if users := e.VolumeUsers(name); len(users) > 0 {
		return errorf(ErrPrecondition, "volume %s is used by container %s: remove that first", name, strings.Join(users, ", "))
	}
	return e.dropVolume(ctx, name, force)
}

// copyUp fills volumes that are empty with what the image has at their mount points.
func (e *Engine) copyUp(ctx context.Context, c *container) error {
	row := c.get()
	// Again, since a reboot undoes the mounts of volumes.
	if err := e.prepareVolumes(ctx, c); err != nil {
		return err
	}
	for _, p := range row.Mounts {
		m := asked(row, p)
		if p.Type != "volume" || m.NoCopy || m.Subpath != "" || !emptyDir(p.Source) {
			continue
		}
		from, err := inRoot(e.rootfs(c.id), p.Destination)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find %s in the image: %w", p.Destination, err)
		}
		err = e.cfg.Volumes.CopyUp(ctx, p.Name, fmt.Sprintf("/proc/self/fd/%d", from.Fd()))
		from.Close()
		if err != nil {
			return fmt.Errorf("fill volume %s: %w", p.Name, err)
		}
	}
	return nil
}

func emptyDir(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}

// ociMounts are the mounts of a container besides the default ones.
func (e *Engine) ociMounts(c *container) ([]specs.Mount, error) {
	row := c.get()
	var out []specs.Mount
	for _, p := range row.Mounts {
		m, err := ociMount(p, asked(row, p))
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	dir := c.dir
	if joinsContainer(row.NetworkMode) {
		dir = e.rowDir(strings.TrimPrefix(row.NetworkMode, "container:"))
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
			Destination: target, Type: "bind", Source: filepath.Join(dir, name), Options: []string{"rbind", "rprivate"},
		})
	}
	return out, nil
}

func ociMount(p *api.MountPoint, m *api.Mount) (specs.Mount, error) {
	access := "rw"
	if p.ReadOnly {
		access = "ro"
	}
	if p.Type == "tmpfs" {
		return tmpfsMount(p, m, access), nil
	}
	source := p.Source
	if m.Subpath != "" {
		dir, err := inRoot(source, m.Subpath)
		if err != nil {
			return specs.Mount{}, fmt.Errorf("volume %s: subpath %s: %w", p.Name, m.Subpath, err)
		}
		defer dir.Close()
		if source, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd())); err != nil {
			return specs.Mount{}, err
		}
	}
	if _, err := os.Stat(source); err != nil {
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
		Destination: p.Destination, Type: "bind", Source: source, Options: []string{bind, propagation, access},
	}, nil
}

func tmpfsMount(p *api.MountPoint, m *api.Mount, access string) specs.Mount {
	options := []string{"nosuid", "nodev", "noexec", access}
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

// inRoot opens a path as a process whose root is root would: no symbolic link leads out of it.
func inRoot(root, name string) (*os.File, error) {
	base, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(base)
	fd, err := unix.Openat2(base, strings.TrimPrefix(name, "/"), &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
