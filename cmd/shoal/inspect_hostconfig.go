package main

import (
	"maps"

	"github.com/shoal-dev/shoal/proto/api"
)

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
