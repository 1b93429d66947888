package spec

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// DefaultPath is PATH for an image that sets none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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

// Command merges entrypoint and arguments with the image's, as Docker does: an entrypoint of one's own
// discards the image's CMD.
func Command(s *api.ContainerSpec, img ocispec.ImageConfig) ([]string, error) {
	entrypoint, args := s.GetEntrypoint(), s.GetArgs()
	own := len(entrypoint) > 0 || s.GetEntrypointSet()
	if !own {
		entrypoint = img.Entrypoint
		if len(args) == 0 {
			args = img.Cmd
		}
	}
	if len(entrypoint) == 1 && entrypoint[0] == "" {
		entrypoint = nil
	}
	argv := slices.Concat(entrypoint, args)
	if len(argv) == 0 {
		return nil, fmt.Errorf("no command specified: the image has neither ENTRYPOINT nor CMD")
	}
	if argv[0] == "" {
		return nil, fmt.Errorf("the command is an empty string")
	}
	return argv, nil
}

// Env merges the environment: PATH, HOSTNAME and TERM, then the image's, then the container's own.
// An entry "KEY" without "=" removes KEY.
func Env(s *api.ContainerSpec, img ocispec.ImageConfig, hostname string) []string {
	env := []string{"PATH=" + DefaultPath}
	if hostname != "" {
		env = append(env, "HOSTNAME="+hostname)
	}
	if s.GetTty() {
		env = append(env, "TERM=xterm")
	}
	return MergeEnv(MergeEnv(env, img.Env), s.GetEnv())
}

// MergeEnv lays over on base, keeping the order in which keys first appear.
func MergeEnv(base, over []string) []string {
	out := slices.Clone(base)
	at := map[string]int{} // of keys: an image may have very many
	for i, e := range out {
		key, _, _ := strings.Cut(e, "=")
		if _, twice := at[key]; !twice {
			at[key] = i
		}
	}
	gone := map[int]bool{}
	for _, e := range over {
		key, _, set := strings.Cut(e, "=")
		i, have := at[key]
		switch {
		case set && have:
			out[i] = e
		case set:
			at[key] = len(out)
			out = append(out, e)
		case have:
			gone[i] = true
			delete(at, key)
		}
	}
	if len(gone) == 0 {
		return out
	}
	left := out[:0]
	for i, e := range out {
		if !gone[i] {
			left = append(left, e)
		}
	}
	return left
}

// Workdir is the container's working directory.
func Workdir(s *api.ContainerSpec, img ocispec.ImageConfig) string {
	dir := s.GetWorkdir()
	if dir == "" {
		dir = img.WorkingDir
	}
	return path.Clean("/" + dir)
}

// maxHostname is the kernel's __NEW_UTS_LEN.
const maxHostname = 64

func process(o Options, caps []string) (*specs.Process, error) {
	argv, err := Command(o.Spec, o.Image)
	if err != nil {
		return nil, err
	}
	if dir := o.Spec.GetWorkdir(); dir != "" && !path.IsAbs(dir) {
		return nil, fmt.Errorf("working directory %q is not an absolute path", dir)
	}
	if name := o.Spec.GetHostname(); len(name) > maxHostname {
		return nil, fmt.Errorf("hostname %q has %d bytes, the kernel takes %d", name, len(name), maxHostname)
	}
	rlimits, err := rlimits(o.Spec.GetUlimits())
	if err != nil {
		return nil, err
	}
	p := &specs.Process{
		Terminal:        o.Spec.GetTty(),
		User:            ociUser(o.User),
		Args:            argv,
		Env:             withHome(MergeEnv(o.LinkEnv, Env(o.Spec, o.Image, o.Hostname)), o.User),
		Cwd:             Workdir(o.Spec, o.Image),
		Capabilities:    processCaps(o.User, caps),
		Rlimits:         rlimits,
		NoNewPrivileges: o.Spec.GetNoNewPrivileges(),
		ApparmorProfile: o.Spec.GetApparmor(),
		SelinuxLabel:    o.ProcessLabel,
	}
	if adj := int(o.Spec.GetOomScoreAdj()); adj != 0 {
		if adj < -1000 || adj > 1000 {
			return nil, fmt.Errorf("--oom-score-adj %d is not between -1000 and 1000", adj)
		}
		p.OOMScoreAdj = &adj
	}
	return p, nil
}

func ociUser(u User) specs.User {
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: u.Groups}
}

func withHome(env []string, u User) []string {
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		return env
	}
	home := u.Home
	if home == "" {
		home = "/"
	}
	return append(env, "HOME="+home)
}

// processCaps leaves a user other than root only the bounding set, which is what execve would do anyway.
func processCaps(u User, caps []string) *specs.LinuxCapabilities {
	c := &specs.LinuxCapabilities{Bounding: caps}
	if u.UID == 0 {
		c.Effective, c.Permitted = caps, caps
	}
	return c
}

// rlimitNames are the kernel's, as the ulimit command and Docker spell them.
var rlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
	"rss", "rtprio", "rttime", "sigpending", "stack",
}

func rlimits(in []*api.Ulimit) ([]specs.POSIXRlimit, error) {
	var out []specs.POSIXRlimit
	for _, u := range in {
		if !slices.Contains(rlimitNames, u.GetName()) {
			return nil, fmt.Errorf("unknown ulimit %q", u.GetName())
		}
		if u.GetHard() != -1 && (u.GetSoft() > u.GetHard() || u.GetSoft() == -1) {
			return nil, fmt.Errorf("ulimit %s: soft limit %d is above the hard limit %d", u.GetName(), u.GetSoft(), u.GetHard())
		}
		// -1 is unlimited: all bits set.
		out = append(out, specs.POSIXRlimit{
			Type: "RLIMIT_" + strings.ToUpper(u.GetName()), Soft: uint64(u.GetSoft()), Hard: uint64(u.GetHard()),
		})
	}
	return out, nil
}

func linux(o Options, caps []string) (*specs.Linux, error) {
	resources, err := Resources(o.Spec.GetLimits())
	if err != nil {
		return nil, err
	}
	resources.Devices = deviceRules(o)
	l := &specs.Linux{
		CgroupsPath: o.CgroupsPath,
		Resources:   resources,
		Devices:     o.Devices,
		Namespaces:  namespaces(o),
		MountLabel:  o.MountLabel,
	}
	if l.Sysctl, err = sysctls(o); err != nil {
		return nil, err
	}
	if l.TimeOffsets, err = timeOffsets(o.Spec.GetTimeOffsets()); err != nil {
		return nil, err
	}
	if !o.Spec.GetPrivileged() && !o.Spec.GetUnmaskPaths() {
		l.MaskedPaths, l.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	}
	if l.Seccomp, err = seccomp(o, caps); err != nil {
		return nil, err
	}
	return l, nil
}

func seccomp(o Options, caps []string) (*specs.LinuxSeccomp, error) {
	profile := o.Spec.GetSeccomp()
	switch {
	case profile == "unconfined", profile == "" && o.Spec.GetPrivileged():
		return nil, nil
	case profile == "", profile == "default":
		return o.Seccomp(caps)
	case strings.HasPrefix(strings.TrimSpace(profile), "{"):
		return o.CustomSeccomp(profile, caps)
	default:
		return nil, fmt.Errorf("seccomp: %.40q is neither \"unconfined\" nor a JSON profile", profile)
	}
}

func namespaces(o Options) []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	add := func(t specs.LinuxNamespaceType, where string) {
		switch where {
		case "host":
		default:
			ns = append(ns, specs.LinuxNamespace{Type: t, Path: where})
		}
	}
	add(specs.NetworkNamespace, o.Namespaces.Net)
	add(specs.PIDNamespace, o.Namespaces.Pid)
	add(specs.IPCNamespace, o.Namespaces.IPC)
	add(specs.UTSNamespace, o.Namespaces.UTS)
	add(specs.CgroupNamespace, o.Namespaces.Cgroup)
	add(specs.TimeNamespace, "")
	if o.Namespaces.User != "" {
		add(specs.UserNamespace, o.Namespaces.User)
	}
	return ns
}

func timeOffsets(in map[string]string) (map[string]specs.LinuxTimeOffset, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := map[string]specs.LinuxTimeOffset{}
	for clock, text := range in {
		if clock != "monotonic" && clock != "boottime" {
			return nil, fmt.Errorf("--time-offset: clock %q is neither monotonic nor boottime", clock)
		}
		whole, fraction, _ := strings.Cut(text, ".")
		secs, err := strconv.ParseInt(whole, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--time-offset %s: %q is not SECONDS[.FRACTION]", clock, text)
		}
		var nanos uint64
		if fraction != "" {
			if len(fraction) > 9 {
				return nil, fmt.Errorf("--time-offset %s: %q is finer than a nanosecond", clock, text)
			}
			nanos, err = strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("--time-offset %s: %q is not SECONDS[.FRACTION]", clock, text)
			}
		}
		// The kernel counts nanoseconds upwards, so that -1.25 is two seconds back and 0.75 forth.
		if strings.HasPrefix(whole, "-") && nanos > 0 {
			secs, nanos = secs-1, 1e9-nanos
		}
		out[clock] = specs.LinuxTimeOffset{Secs: secs, Nanosecs: uint32(nanos)}
	}
	return out, nil
}

// sysctls adds two that Docker sets in every network namespace of a container's own: unprivileged ports and ping.
func sysctls(o Options) (map[string]string, error) {
	out := map[string]string{}
	ownNet := o.Namespaces.Net != "host" && !o.JoinedNet
	if ownNet {
		out["net.ipv4.ip_unprivileged_port_start"] = "0"
		out["net.ipv4.ping_group_range"] = "0 2147483647"
		if n := o.Namespaces.Users; n > 0 {
			out["net.ipv4.ping_group_range"] = fmt.Sprintf("0 %d", n-1)
		}
	}
	for key, value := range o.Spec.GetSysctls() {
		switch {
		case strings.HasPrefix(key, "net."):
			if !ownNet {
				return nil, fmt.Errorf("sysctl %s needs a network namespace of the container's own", key)
			}
		case isIPCSysctl(key):
			if o.Namespaces.IPC != "" {
				return nil, fmt.Errorf("sysctl %s needs an IPC namespace of the container's own", key)
			}
		case key == "kernel.domainname":
			if o.Namespaces.UTS != "" {
				return nil, fmt.Errorf("sysctl %s needs a UTS namespace of the container's own", key)
			}
		default:
			return nil, fmt.Errorf("sysctl %s is not separate for each container", key)
		}
		out[key] = value
	}
	if len(out) == 0 {
		return nil, nil
	}
	return maps.Clone(out), nil
}

func isIPCSysctl(key string) bool {
	return strings.HasPrefix(key, "fs.mqueue.") || slices.Contains([]string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
		"kernel.shmmni", "kernel.shm_rmid_forced",
	}, key)
}
