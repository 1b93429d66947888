package spec

import (
	"maps"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// User is an identity resolved against the image's /etc/passwd and /etc/group.
type User struct {
	UID, GID uint32
	Groups   []uint32
	Home     string // "" if unknown
}

// Namespaces are paths of namespaces to join. "" makes a new one, "host" uses the daemon's.
type Namespaces struct {
	Net, Pid, IPC, UTS, Cgroup string
	// User is the path of a user namespace to join, "" for the host's; Users is how many there are in it.
	User  string
	Users uint32
}

// Options are the inputs of Build.
type Options struct {
	ID       string
	Spec     *api.ContainerSpec
	Image    ocispec.ImageConfig
	RootPath string // absolute, mounted
	Hostname string // "" with the host's UTS namespace
	User     User
	// Namespaces with Net set to a path for every container that is not on the host's network.
	Namespaces Namespaces
	// JoinedNet says that Net is another container's, so that sysctls there are not ours to set.
	JoinedNet bool
	// Mounts besides the default ones, in any order: volumes, binds, tmpfs, /etc/hosts. Build sorts them by depth.
	Mounts []specs.Mount
	// ShmSource is a directory to bind at /dev/shm; "" makes a tmpfs.
	ShmSource string
	// LinkEnv are variables about linked containers; those of the image and of the container go before them.
	LinkEnv []string
	// Devices are resolved from Spec.Devices, or the host's when privileged.
	Devices []specs.LinuxDevice
	// DeviceRules say what may be done with Devices.
	DeviceRules []specs.LinuxDeviceCgroup
	CgroupsPath string
	// ProcessLabel and MountLabel are SELinux'.
	ProcessLabel, MountLabel string
	// Bounding are the capabilities that this daemon has itself; nil: all.
	Bounding []string
	// Seccomp gives the default profile for a set of capabilities; Custom parses one given as JSON.
	Seccomp       func(caps []string) (*specs.LinuxSeccomp, error)
	CustomSeccomp func(profile string, caps []string) (*specs.LinuxSeccomp, error)
}

// Build makes the OCI configuration of a container.
func Build(o Options) (*specs.Spec, error) {
	caps, err := capabilities(o.Spec.GetPrivileged(), o.Spec.GetCapAdd(), o.Spec.GetCapDrop(), o.Bounding)
	if err != nil {
		return nil, err
	}
	process, err := process(o, caps)
	if err != nil {
		return nil, err
	}
	linux, err := linux(o, caps)
	if err != nil {
		return nil, err
	}
	if err := checkNames(o); err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version:     specs.Version,
		Hostname:    o.Hostname,
		Domainname:  o.Spec.GetDomainname(),
		Root:        &specs.Root{Path: o.RootPath, Readonly: o.Spec.GetReadOnly()},
		Process:     process,
		Mounts:      mounts(o),
		Linux:       linux,
		Annotations: maps.Clone(o.Spec.GetAnnotations()),
	}, nil
}
