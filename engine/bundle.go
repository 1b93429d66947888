//go:build linux

package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/seccomp"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// prepareBundle writes the container's OCI configuration.
func (e *Engine) prepareBundle(_ context.Context, c *container) error {
	config, err := e.buildSpec(c)
	if err != nil {
		return err
	}
	data, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode config.json: %w", err)
	}
	return writeFile(filepath.Join(e.bundle(c.id), "config.json"), data, rowFilePerm, false)
}

func (e *Engine) buildSpec(c *container) (*specs.Spec, error) {
	row := c.get()
	var err error
	o := spec.Options{
		ID: row.Id, Spec: row.Spec, Image: c.img.Config, RootPath: e.rootfs(c.id), Hostname: row.Hostname,
		CgroupsPath: e.groupPath(row), Bounding: e.bounding,
		JoinedNet: joinsContainer(row.NetworkMode), LinkEnv: e.linkEnv(row),
		Seccomp: e.profiles.get, CustomSeccomp: seccomp.Load,
		ProcessLabel: row.ProcessLabel, MountLabel: row.MountLabel,
	}
	if o.User, err = lookupUser(o.RootPath, row.User, row.Spec.GetGroups()); err != nil {
		return nil, err
	}
	if o.Namespaces, err = e.namespaces(row); err != nil {
		return nil, err
	}
	if o.Mounts, err = e.ociMounts(c); err != nil {
		return nil, err
	}
	for i := range o.Mounts {
		if o.Mounts[i].Type == "bind" && boundFirst(row, i) {
			o.Mounts[i].Source = e.boundPath(c.id, i)
		}
	}
	if o.ShmSource, err = e.shmSource(row); err != nil {
		return nil, err
	}
	if o.Devices, o.DeviceRules, err = devices(row.Spec); err != nil {
		return nil, err
	}
	config, err := spec.Build(o)
	if err != nil {
		return nil, err
	}
	if err := e.cfg.CDI.Inject(config, row.Spec.CdiDevices); err != nil {
		return nil, err
	}
	if row.Runtime != "" && row.Runtime != "shoal" {
		config.Version = "1.0.2" // older releases refuse newer versions than they know; nothing newer is used
		domainBySysctl(config)
	}
	if row.Runtime != "" && row.Runtime != "shoal" && len(config.Linux.TimeOffsets) == 0 {
		// One without offsets makes no difference, and many runtimes know none.
		config.Linux.Namespaces = slices.DeleteFunc(config.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	}
	if row.Spec.Runtime != "" { // ours takes sources before it separates mounts, and needs no propagating root
		config.Linux.RootfsPropagation = rootPropagation(row)
	}
	return config, addRates(config.Linux.Resources, row.Spec.GetLimits())
}

// domainBySysctl says in the older way what a specification of this version has no field for.
func domainBySysctl(config *specs.Spec) {
	if config.Domainname == "" {
		return
	}
	if config.Linux.Sysctl == nil {
		config.Linux.Sysctl = map[string]string{}
	}
	config.Linux.Sysctl["kernel.domainname"], config.Domainname = config.Domainname, ""
}

// rootPropagation is the strongest that a mount asks for. With a private root, other runtimes cut all its mounts off.
func rootPropagation(row *api.Container) string {
	strongest := ""
	for _, p := range row.Mounts {
		switch asked(p).Propagation {
		case "shared", "rshared":
			return "rshared"
		case "slave", "rslave":
			strongest = "rslave"
		}
	}
	return strongest
}

// namespaceModes are the namespaces as far as they are known before the start.
func (e *Engine) namespaceModes(row *api.Container) spec.Namespaces {
	n := modes(row.Spec, row.NetworkMode, e.netnsPath(row.Id))
	if row.UsernsSize > 0 {
		n.User, n.Users = e.usernsPath(row.Id), row.UsernsSize
	}
	return n
}

// modes are the namespaces of settings. netns is where a network namespace is that is not the host's.
func modes(s *api.ContainerSpec, networkMode, netns string) spec.Namespaces {
	shared := func(mode string) string {
		if mode == "host" {
			return "host"
		}
		return ""
	}
	n := spec.Namespaces{
		Net: "host", Pid: shared(s.PidMode), IPC: shared(s.IpcMode), UTS: shared(s.UtsMode), Cgroup: shared(s.CgroupnsMode),
	}
	if networkMode != NetworkHost {
		n.Net = netns
	}
	return n
}

// namespaces resolves those that are another container's.
func (e *Engine) namespaces(row *api.Container) (spec.Namespaces, error) {
	n := e.namespaceModes(row)
	join := func(mode, kind string, into *string) error {
		if !joinsContainer(mode) {
			return nil
		}
		other, err := e.runningPid(strings.TrimPrefix(mode, "container:"))
		*into = fmt.Sprintf("/proc/%d/ns/%s", other, kind)
		return err
	}
	return n, errors.Join(
		join(row.NetworkMode, "net", &n.Net), join(row.Spec.PidMode, "pid", &n.Pid), join(row.Spec.IpcMode, "ipc", &n.IPC),
	)
}

func (e *Engine) runningPid(ref string) (int32, error) {
	other, err := e.find(ref)
	if err != nil {
		return 0, err
	}
	row := other.get()
	if !active(row.State) {
		return 0, errorf(ErrPrecondition, "container %s, whose namespaces are to be joined, is not running: start it first", row.Name)
	}
	return row.Pid, nil
}

// shmSource is the shared /dev/shm of a container that lets others join, or of the one that is joined.
func (e *Engine) shmSource(row *api.Container) (string, error) {
	switch mode := row.Spec.IpcMode; {
	case mode == "shareable":
		return e.shmDir(row.Id), nil
	case mode == "host":
		return "/dev/shm", nil
	case joinsContainer(mode):
		other, err := e.find(strings.TrimPrefix(mode, "container:"))
		if err != nil {
			return "", err
		}
		if other.get().Spec.IpcMode != "shareable" {
			return "", errorf(ErrPrecondition, "container %s does not share its IPC namespace: create it with --ipc shareable", other.get().Name)
		}
		return e.shmDir(other.id), nil
	default:
		return "", nil
	}
}

// boundingCaps are the capabilities that this daemon could pass on.
func boundingCaps() ([]string, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if hex, ok := strings.CutPrefix(s.Text(), "CapBnd:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err != nil {
				return nil, fmt.Errorf("read capabilities: %w", err)
			}
			return spec.CapNames(mask), nil
		}
	}
	return nil, fmt.Errorf("read capabilities: /proc/self/status has no CapBnd")
}
