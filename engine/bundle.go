//go:build linux

package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/seccomp"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/internal/durable"
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
	return durable.Replace(filepath.Join(e.bundle(c.id), "config.json"), data, rowFilePerm)
}

func (e *Engine) buildSpec(c *container) (*specs.Spec, error) {
	row := c.get()
	o, err := e.specOptions(c, row)
	if err != nil {
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
		makePortable(config)
	}
	if row.Spec.Runtime != "" { // ours takes sources before it separates mounts, and needs no propagating root
		config.Linux.RootfsPropagation = rootPropagation(row)
	}
	return config, addRates(config.Linux.Resources, row.Spec.GetLimits())
}

// specOptions resolves on this host what a container was asked for: users, namespaces, mounts, devices.
func (e *Engine) specOptions(c *container, row *api.Container) (o spec.Options, err error) {
	o = spec.Options{
		ID: row.Id, Spec: row.Spec, Image: c.img.Config, RootPath: e.rootfs(c.id), Hostname: row.Hostname,
		CgroupsPath: e.groupPath(row), Bounding: e.bounding,
		JoinedNet: joinsContainer(row.NetworkMode), LinkEnv: e.linkEnv(row),
		Seccomp: e.profiles.get, CustomSeccomp: seccomp.Load,
		ProcessLabel: row.ProcessLabel, MountLabel: row.MountLabel,
	}
	if o.User, err = lookupUser(o.RootPath, row.User, row.Spec.GetGroups()); err != nil {
		return o, err
	}
	if o.Namespaces, err = e.namespaces(row); err != nil {
		return o, err
	}
	if o.Mounts, err = e.ociMounts(c); err != nil {
		return o, err
	}
	for i := range o.Mounts {
		if o.Mounts[i].Type == "bind" && boundFirst(row, i) {
			o.Mounts[i].Source = e.boundPath(c.id, i)
		}
	}
	if o.ShmSource, err = e.shmSource(row); err != nil {
		return o, err
	}
	o.Devices, o.DeviceRules, err = devices(row.Spec)
	return o, err
}

// makePortable writes a configuration so that other runtimes, and older releases of them, understand it.
func makePortable(config *specs.Spec) {
	config.Version = "1.0.2" // they refuse newer versions than they know; nothing newer is used
	domainBySysctl(config)
	if len(config.Linux.TimeOffsets) == 0 { // a time namespace makes no difference then, and many runtimes know none
		config.Linux.Namespaces = slices.DeleteFunc(config.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	}
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
