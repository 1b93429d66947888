package main

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func (c *cli) lookupContainer(ctx context.Context, name string) (map[string]any, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Containers.Inspect(ctx, &api.ContainerRequest{Ref: name})
	if err != nil {
		return nil, err
	}
	o := containerObject(r.Container)
	addDetails(o, r.Details)
	c.addImageCommand(ctx, o["Config"].(map[string]any), r.Container)
	o["HostConfig"].(map[string]any)["Links"] = c.linkNames(ctx, r.Container)
	return o, nil
}

// addImageCommand shows the command that the image gives where the container has none of its own, as long as the image is there.
func (c *cli) addImageCommand(ctx context.Context, config map[string]any, k *api.Container) {
	s := k.GetSpec()
	if len(s.GetEntrypoint()) > 0 || s.GetEntrypointSet() {
		return // which leaves the image's arguments out, too
	}
	image, err := c.lookupImage(ctx, k.ImageId)
	if err != nil {
		return
	}
	given := image["Config"].(map[string]any)
	config["Entrypoint"] = given["Entrypoint"]
	if len(s.GetArgs()) == 0 {
		config["Cmd"] = given["Cmd"]
	}
}

// linkNames are links on the default bridge as Docker shows them: "/db:/web/alias". A container that is gone has its ID only.
func (c *cli) linkNames(ctx context.Context, k *api.Container) []string {
	var out []string
	for _, w := range k.Networks {
		if w.Network != "bridge" {
			continue
		}
		for _, l := range w.Links {
			name, alias, _ := strings.Cut(l, ":")
			if d, err := c.client(); err == nil {
				if r, err := d.Containers.Inspect(ctx, &api.ContainerRequest{Ref: name}); err == nil {
					name = r.Container.Name
				}
			}
			out = append(out, "/"+name+":/"+k.Name+"/"+alias)
		}
	}
	return out
}

// lookupContainerSize is lookupContainer with the sizes, which take the daemon some time.
func (c *cli) lookupContainerSize(ctx context.Context, name string) (map[string]any, error) {
	o, err := c.lookupContainer(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	all, err := d.Containers.List(ctx, &api.ListContainersRequest{All: true, Size: true})
	for _, k := range all.GetContainers() {
		if k.Id == o["Id"] {
			o["SizeRw"], o["SizeRootFs"] = k.SizeRw, k.SizeRootFs
		}
	}
	return o, err
}

// containerObject has Docker's shape, so that templates written for docker inspect work.
func containerObject(k *api.Container) map[string]any {
	path, args := "", []string{}
	if len(k.Command) > 0 {
		path, args = k.Command[0], k.Command[1:]
	}
	return map[string]any{
		"Id": k.Id, "Created": rfc3339(k.CreatedAt), "Path": path, "Args": args,
		"State": containerStateObject(k), "Image": k.ImageId, "LogPath": k.LogPath, "Name": "/" + k.Name,
		"RestartCount": k.RestartCount, "Driver": k.Driver, "Platform": "linux", "ExecIDs": nil,
		"HostConfig": hostConfigObject(k), "Mounts": mountObjects(k), "Config": configObject(k),
		"NetworkSettings": networkSettingsObject(k), "TaskID": k.TaskId,
		"ProcessLabel": k.ProcessLabel, "MountLabel": k.MountLabel, "AppArmorProfile": k.GetSpec().GetApparmor(),
	}
}

func containerStateObject(k *api.Container) map[string]any {
	s := map[string]any{
		"Status": stateName(k.State), "Running": k.State == api.ContainerState_CONTAINER_RUNNING || k.State == api.ContainerState_PAUSED,
		"Paused": k.State == api.ContainerState_PAUSED, "Restarting": k.State == api.ContainerState_RESTARTING,
		"Dead": k.State == api.ContainerState_DEAD, "OOMKilled": k.OomKilled, "Pid": k.Pid, "ExitCode": k.ExitCode,
		"Error": k.Error, "Health": nil, "StartedAt": rfc3339(k.StartedAt), "FinishedAt": rfc3339(k.FinishedAt),
	}
	if k.Health != "" || len(k.HealthLog) > 0 {
		log := []any{}
		for _, r := range k.HealthLog {
			log = append(log, map[string]any{"Start": rfc3339(r.Start), "End": rfc3339(r.End), "ExitCode": r.ExitCode, "Output": r.Output})
		}
		s["Health"] = map[string]any{"Status": orElse(k.Health, "unhealthy"), "FailingStreak": k.FailingStreak, "Log": log}
	}
	return s
}

// stateName is a state in Docker's words.
func stateName(s api.ContainerState) string { return lower(s) }

func hostConfigObject(k *api.Container) map[string]any {
	s := k.GetSpec()
	l := s.GetLimits()
	mode := k.NetworkMode
	if mode == "" {
		mode = "bridge"
		if len(k.Networks) > 0 {
			mode = k.Networks[0].Network
		}
	}
	o := map[string]any{
		"NetworkMode": mode, "PortBindings": bindingObjects(k), "PublishAllPorts": k.PublishAll, "AutoRemove": k.AutoRemove,
		"RestartPolicy": map[string]any{"Name": orElse(k.Restart.GetName(), "no"), "MaximumRetryCount": k.Restart.GetMaxRetries()},
		"CapAdd":        s.GetCapAdd(), "CapDrop": s.GetCapDrop(), "Privileged": s.GetPrivileged(), "ReadonlyRootfs": s.GetReadOnly(),
		"Dns": orNone(s.GetDns().GetNameservers()), "DnsOptions": orNone(s.GetDns().GetOptions()), "DnsSearch": orNone(s.GetDns().GetSearch()),
		"ExtraHosts": s.GetHosts(), "GroupAdd": s.GetGroups(), "PidMode": s.GetPidMode(), "IpcMode": orElse(s.GetIpcMode(), "private"),
		"UTSMode": s.GetUtsMode(), "UsernsMode": s.GetUsernsMode(), "CgroupnsMode": orElse(s.GetCgroupnsMode(), "private"), "Sysctls": orEmptyMap(s.GetSysctls()),
		"Init": s.GetInit(), "ShmSize": shmSize(s), "OomScoreAdj": s.GetOomScoreAdj(), "SecurityOpt": securityOptions(s),
		"Memory": l.GetMemoryBytes(), "MemoryReservation": l.GetMemoryReservation(), "MemorySwap": swapLimit(l), "MemorySwappiness": swappiness(l),
		"NanoCpus": l.GetNanoCpus(), "CpuShares": l.GetCpuShares(), "CpuPeriod": l.GetCpuPeriod(), "CpuQuota": l.GetCpuQuota(),
		"CpusetCpus": l.GetCpusetCpus(), "CpusetMems": l.GetCpusetMems(), "PidsLimit": l.GetPids(), "BlkioWeight": l.GetBlkioWeight(),
		"OomKillDisable": l.GetOomKillDisable(),
		"LogConfig":      map[string]any{"Type": orElse(s.GetLog().GetDriver(), "json-file"), "Config": orEmptyMap(s.GetLog().GetOptions())},
		"Ulimits":        ulimitObjects(s.GetUlimits()),
		"Runtime":        orElse(k.Runtime, "shoal"), "Annotations": orEmptyMap(s.GetAnnotations()), "CgroupParent": s.GetCgroupParent(), "CgroupConf": orEmptyMap(l.GetConf()),
		"Devices": deviceObjects(s.GetDevices()), "DeviceCgroupRules": s.GetDeviceCgroupRules(), "DeviceRequests": deviceRequests(s.GetCdiDevices()),
		"CpuRealtimePeriod": l.GetCpuRtPeriod(), "CpuRealtimeRuntime": l.GetCpuRtRuntime(),
		"BlkioWeightDevice":  rateObjects(l.GetBlkioWeightDevices(), "Weight"),
		"BlkioDeviceReadBps": rateObjects(l.GetReadBps(), "Rate"), "BlkioDeviceWriteBps": rateObjects(l.GetWriteBps(), "Rate"),
		"BlkioDeviceReadIOps": rateObjects(l.GetReadIops(), "Rate"), "BlkioDeviceWriteIOps": rateObjects(l.GetWriteIops(), "Rate"),
	}
	maps.Copy(o, askedMounts(s.GetMounts()))
	return o
}

// shmSize is that of /dev/shm, 64 MiB unless asked otherwise.
func shmSize(s *api.ContainerSpec) int64 {
	if n := s.GetShmSize(); n > 0 {
		return n
	}
	return 64 << 20
}

// swapLimit is the one that holds: where only memory is limited it is twice that.
func swapLimit(l *api.ContainerLimits) int64 {
	if l.GetMemorySwap() == 0 {
		return 2 * l.GetMemoryBytes()
	}
	return l.GetMemorySwap()
}

// swappiness is nil where the kernel's own holds.
func swappiness(l *api.ContainerLimits) any {
	if l == nil || l.MemorySwappiness == nil {
		return nil
	}
	return *l.MemorySwappiness
}

func rateObjects(rates []*api.DeviceRate, value string) []any {
	out := []any{}
	for _, r := range rates {
		out = append(out, map[string]any{"Path": r.Path, value: r.Rate})
	}
	return out
}

func deviceObjects(devices []*api.Device) []any {
	out := []any{}
	for _, d := range devices {
		out = append(out, map[string]any{
			"PathOnHost": d.HostPath, "PathInContainer": orElse(d.ContainerPath, d.HostPath), "CgroupPermissions": orElse(d.Permissions, "rwm"),
		})
	}
	return out
}

// deviceRequests are the devices that a driver finds, of which cdi is the only one.
func deviceRequests(names []string) []any {
	if len(names) == 0 {
		return nil
	}
	return []any{map[string]any{"Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": nil, "Options": nil}}
}

func ulimitObjects(limits []*api.Ulimit) []any {
	out := []any{}
	for _, u := range limits {
		out = append(out, map[string]any{"Name": u.Name, "Soft": u.Soft, "Hard": u.Hard})
	}
	return out
}

func securityOptions(s *api.ContainerSpec) []string {
	var out []string
	if s.GetNoNewPrivileges() {
		out = append(out, "no-new-privileges")
	}
	if s.GetSeccomp() != "" {
		out = append(out, "seccomp="+s.Seccomp)
	}
	if s.GetApparmor() != "" {
		out = append(out, "apparmor="+s.Apparmor)
	}
	for _, l := range s.GetLabelOptions() {
		out = append(out, "label="+l)
	}
	return out
}

func mountObjects(k *api.Container) []any {
	out := []any{}
	for _, m := range k.Mounts {
		o := map[string]any{
			"Type": m.Type, "Source": m.Source, "Destination": m.Destination, "Mode": mountMode(m), "RW": !m.ReadOnly,
			"Propagation": m.GetMount().GetPropagation(),
		}
		switch m.Type {
		case "volume":
			o["Name"], o["Driver"] = m.Name, m.Driver
		case "bind":
			o["Propagation"] = orElse(m.GetMount().GetPropagation(), "rprivate")
		}
		out = append(out, o)
	}
	return out
}

func mountMode(m *api.MountPoint) string {
	var words []string
	if m.ReadOnly {
		words = append(words, "ro")
	}
	if r := m.GetMount().GetRelabel(); r != "" {
		words = append(words, r)
	}
	return strings.Join(words, ",")
}

func configObject(k *api.Container) map[string]any {
	s := k.GetSpec()
	return map[string]any{
		"Hostname": k.Hostname, "Domainname": s.GetDomainname(), "ExposedPorts": portSet(k.ExposedPorts), "User": k.User, "Tty": s.GetTty(), "OpenStdin": s.GetOpenStdin(), "Env": givenEnv(k),
		"Volumes": anonymousVolumes(k), "OnBuild": nil,
		"Cmd": s.GetArgs(), "Entrypoint": s.GetEntrypoint(), "Image": k.ImageName, "WorkingDir": k.Workdir,
		"Labels": orEmptyMap(s.GetLabels()), "StopSignal": s.GetStopSignal(), "StopTimeout": int(s.GetStopGracePeriod().AsDuration().Seconds()),
	}
}

func networkSettingsObject(k *api.Container) map[string]any {
	networks := map[string]any{}
	first := map[string]any{"IPAddress": "", "Gateway": "", "MacAddress": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPv6Gateway": "", "IPPrefixLen": 0}
	for i, e := range k.Endpoints {
		o := endpointOf(k, e)
		networks[e.Network] = o
		if i == 0 {
			for key := range first {
				first[key] = o[key]
			}
		}
	}
	for _, name := range networkNamesOf(k) { // one that does not run has no endpoint, but networks
		if networks[name] == nil && !strings.HasPrefix(name, "container:") && name != "external" {
			networks[name] = endpointOf(k, &api.NetworkEndpoint{Network: name})
		}
	}
	ports := map[string]any{}
	if isUp(k) {
		ports = portObjects(k.Ports, exposedOf(k))
	}
	first["SandboxKey"], first["Ports"], first["Networks"] = k.Netns, ports, networks
	return first
}

// endpointOf is a container's place on a network, with what was asked for there.
func endpointOf(k *api.Container, e *api.NetworkEndpoint) map[string]any {
	o := endpointObject(e)
	o["IPAMConfig"], o["DNSNames"], o["Links"] = fixedAddresses(k, e.Network), namesOn(k, e), linksOn(k, e.Network)
	return o
}

// linksOn are the links on a network where containers have names.
func linksOn(k *api.Container, network string) []string {
	i := slices.IndexFunc(k.Networks, func(w *api.LocalNetworkAttachment) bool { return w.Network == network })
	if i < 0 || network == "bridge" {
		return nil
	}
	return k.Networks[i].Links
}

func endpointObject(e *api.NetworkEndpoint) map[string]any {
	o := map[string]any{
		"NetworkID": e.NetworkId, "MacAddress": e.Mac, "Aliases": e.Aliases, "IPAddress": "", "IPPrefixLen": 0,
		"Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPv6Gateway": "",
	}
	for _, a := range e.Addresses {
		addr, bits := splitAddress(a)
		if addr.Is4() {
			o["IPAddress"], o["IPPrefixLen"] = addr.String(), bits
		} else if addr.IsValid() {
			o["GlobalIPv6Address"], o["GlobalIPv6PrefixLen"] = addr.String(), bits
		}
	}
	for _, g := range e.Gateways {
		if addr, _ := splitAddress(g); addr.Is4() {
			o["Gateway"] = addr.String()
		} else if addr.IsValid() {
			o["IPv6Gateway"] = addr.String()
		}
	}
	return o
}

// splitAddress reads an address with or without a prefix length.
func splitAddress(s string) (netip.Addr, int) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr(), p.Bits()
	}
	a, _ := netip.ParseAddr(s)
	return a, a.BitLen()
}
