//go:build linux

package engine

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/cdi"
	"github.com/shoal-dev/shoal/engine/cgroup"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/seccomp"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/proto/api"
)

// CheckSettings refuses what no host could make a container of: settings that make no sense, or do not fit together. It looks at
// nothing but what is given, so that a cluster's managers can ask it about a service before any node has a task of it. networkMode
// is a container's, as in its row. What only one host can tell (its devices, its processors, what is on its disk) Create checks besides.
func CheckSettings(s *api.ContainerSpec, networkMode string) error {
	if _, err := logConfig(&api.Container{Spec: s}, ""); err != nil {
		return errorf(ErrInvalid, "%w", err)
	}
	if s.StopSignal != "" {
		if _, err := ParseSignal(s.StopSignal); err != nil {
			return err
		}
	}
	if _, err := healthCheck(s, nil); err != nil {
		return err
	}
	for _, check := range []func(*api.ContainerSpec) error{
		checkModes, func(s *api.ContainerSpec) error { return checkUsers(s, networkMode) }, checkHosts, checkExposed,
		checkDevices, checkGroups, checkMounts,
	} {
		if err := check(s); err != nil {
			return err
		}
	}
	return checkConfiguration(s, networkMode)
}

// checkConfiguration makes a first configuration; the real one is made at the start.
func checkConfiguration(s *api.ContainerSpec, networkMode string) error {
	_, err := spec.Build(spec.Options{
		Spec: s, Image: ocispec.ImageConfig{Cmd: []string{"its own"}},
		Namespaces: modes(s, networkMode, "own"), JoinedNet: joinsContainer(networkMode),
		Seccomp:       func([]string) (*specs.LinuxSeccomp, error) { return nil, nil },
		CustomSeccomp: seccomp.Load,
	})
	if err != nil {
		return errorf(ErrInvalid, "%w", err)
	}
	return nil
}

func checkHosts(s *api.ContainerSpec) error {
	for _, h := range s.Hosts {
		if name, addr, ok := strings.Cut(h, ":"); !ok || name == "" || addr == "" {
			return errorf(ErrInvalid, "extra host %q is not NAME:ADDRESS", h)
		}
	}
	return nil
}

func checkExposed(s *api.ContainerSpec) error {
	for _, text := range s.ExposedPorts {
		if len(network.ParseExposed([]string{text})) == 0 {
			return errorf(ErrInvalid, "exposed port %q is not PORT or PORT/PROTOCOL with a port from 1 to 65535 and tcp, udp or sctp", text)
		}
	}
	return nil
}

func checkDevices(s *api.ContainerSpec) error {
	for _, d := range s.Devices {
		if strings.Trim(d.Permissions, "rwm") != "" {
			return errorf(ErrInvalid, "device %s: permissions %q are not made of r, w and m", d.HostPath, d.Permissions)
		}
	}
	for _, r := range s.DeviceCgroupRules {
		if _, err := deviceRule(r); err != nil {
			return err
		}
	}
	if err := cdi.Check(s.CdiDevices); err != nil { // whether they are there, the start finds out
		return errorf(ErrInvalid, "%w", err)
	}
	return nil
}

func checkGroups(s *api.ContainerSpec) error {
	if err := checkGroupParent(s.CgroupParent); err != nil {
		return err
	}
	for name, value := range s.Limits.GetConf() {
		if value == "" {
			return errorf(ErrInvalid, "--cgroup-conf %s= has no value: leave it out", name)
		}
		if err := cgroup.CheckConf(name, value); err != nil {
			return errorf(ErrInvalid, "%w", err)
		}
	}
	for field, set := range map[string]string{"--cpuset-cpus": s.Limits.GetCpusetCpus(), "--cpuset-mems": s.Limits.GetCpusetMems()} {
		if _, err := parseSet(set); set != "" && err != nil {
			return errorf(ErrInvalid, "%s %q: %w", field, set, err)
		}
	}
	for _, d := range s.Limits.GetBlkioWeightDevices() {
		if d.Rate < 10 || d.Rate > 1000 {
			return errorf(ErrInvalid, "weight %d of %s is not between 10 and 1000", d.Rate, d.Path)
		}
	}
	return nil
}

func checkMounts(s *api.ContainerSpec) error {
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		target := path.Clean(m.Target)
		switch {
		case !path.IsAbs(m.Target) || target == "/":
			return errorf(ErrInvalid, "mount target %q is not an absolute path below /", m.Target)
		case seen[target]:
			return errorf(ErrInvalid, "two mounts have the target %s", target)
		case strings.HasSuffix(m.Propagation, "shared") && hasOwnUsers(s):
			return errorf(ErrInvalid, "mount %s: a container with its own users cannot mount anything on the host: use propagation rslave, or --userns host", target)
		}
		seen[target] = true
		if err := checkMount(m); err != nil {
			return err
		}
	}
	return nil
}

var propagations = []string{"", "rprivate", "private", "rshared", "shared", "rslave", "slave"}

func checkMount(m *api.Mount) error {
	bind, vol, tmpfs := m.Type == api.Mount_BIND, m.Type == api.Mount_VOLUME, m.Type == api.Mount_TMPFS
	switch {
	case !bind && !vol && !tmpfs:
		return errorf(ErrInvalid, "mount %s: unknown type %v", m.Target, m.Type)
	case bind && !filepath.IsAbs(m.Source):
		return errorf(ErrInvalid, "bind mount source %q is not an absolute path", m.Source)
	case tmpfs && m.Source != "":
		return errorf(ErrInvalid, "mount %s: tmpfs takes no source", m.Target)
	case !bind && (m.Propagation != "" || m.NonRecursive || m.ReadOnlyRecursion != ""):
		return errorf(ErrInvalid, "mount %s: propagation and recursion are for bind mounts", m.Target)
	case !vol && (m.Driver != "" || len(m.DriverOpts) > 0 || len(m.Labels) > 0 || m.Subpath != "" || m.NoCopy):
		return errorf(ErrInvalid, "mount %s: driver, its options, labels, subpath and nocopy are for volumes", m.Target)
	case !tmpfs && (m.TmpfsSizeBytes != 0 || m.TmpfsMode != 0 || len(m.TmpfsOptions) > 0):
		return errorf(ErrInvalid, "mount %s: size, mode and options are for tmpfs mounts", m.Target)
	case !slices.Contains(propagations, m.Propagation):
		return errorf(ErrInvalid, "bind mount %s: unknown propagation %q", m.Target, m.Propagation)
	}
	if err := checkRecursion(m); err != nil {
		return err
	}
	if vol {
		if err := volume.Check(m.Source, m.Driver, m.DriverOpts); err != nil {
			return errorf(ErrInvalid, "mount %s: %w", m.Target, err)
		}
	}
	return checkTmpfs(m)
}

// checkModes looks at namespaces that are not a container's own.
func checkModes(s *api.ContainerSpec) error {
	joins := func(mode string) bool { return joinsContainer(mode) && len(mode) > len("container:") }
	switch {
	case !slices.Contains([]string{"", "host"}, s.PidMode) && !joins(s.PidMode):
		return errorf(ErrInvalid, "--pid %q is not host or container:ID", s.PidMode)
	case !slices.Contains([]string{"", "private", "host", "shareable"}, s.IpcMode) && !joins(s.IpcMode):
		return errorf(ErrInvalid, "--ipc %q is not private, shareable, host or container:ID", s.IpcMode)
	case !slices.Contains([]string{"", "host"}, s.UtsMode):
		return errorf(ErrInvalid, "--uts %q is not host", s.UtsMode)
	case !slices.Contains([]string{"", "private", "host"}, s.CgroupnsMode):
		return errorf(ErrInvalid, "--cgroupns %q is not private or host", s.CgroupnsMode)
	case s.UtsMode == "host" && s.Hostname != "":
		return errorf(ErrInvalid, "--hostname cannot be combined with --uts host: the container has the host's name")
	}
	return nil
}
