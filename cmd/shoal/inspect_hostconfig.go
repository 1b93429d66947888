package main

import (
	"github.com/shoal-dev/shoal/proto/api"
)

func hostConfigObject(k *api.Container) hostConfigView {
	s := k.GetSpec()
	l := s.GetLimits()
	mode := k.NetworkMode
	if mode == "" {
		mode = "bridge"
		if len(k.Networks) > 0 {
			mode = k.Networks[0].Network
		}
	}
	o := hostConfigView{
		NetworkMode: mode, PortBindings: bindingObjects(k), PublishAllPorts: k.PublishAll, AutoRemove: k.AutoRemove,
		RestartPolicy: restartPolicyView{Name: orElse(k.Restart.GetName(), "no"), MaximumRetryCount: k.Restart.GetMaxRetries()},
		CapAdd:        s.GetCapAdd(), CapDrop: s.GetCapDrop(), Privileged: s.GetPrivileged(), ReadonlyRootfs: s.GetReadOnly(),
		DNS: orNone(s.GetDns().GetNameservers()), DNSOptions: orNone(s.GetDns().GetOptions()), DNSSearch: orNone(s.GetDns().GetSearch()),
		ExtraHosts: s.GetHosts(), GroupAdd: s.GetGroups(), PidMode: s.GetPidMode(), IpcMode: orElse(s.GetIpcMode(), "private"),
		UTSMode: s.GetUtsMode(), UsernsMode: s.GetUsernsMode(), CgroupnsMode: orElse(s.GetCgroupnsMode(), "private"), Sysctls: orEmptyMap(s.GetSysctls()),
		Init: s.GetInit(), ShmSize: shmSize(s), OomScoreAdj: s.GetOomScoreAdj(), SecurityOpt: securityOptions(s),
		LogConfig: logConfigView{Type: orElse(s.GetLog().GetDriver(), "json-file"), Config: orEmptyMap(s.GetLog().GetOptions())},
		Ulimits:   ulimitObjects(s.GetUlimits()),
		Runtime:   orElse(k.Runtime, "shoal"), Annotations: orEmptyMap(s.GetAnnotations()), CgroupParent: s.GetCgroupParent(),
		Devices: deviceObjects(s.GetDevices()), DeviceCgroupRules: s.GetDeviceCgroupRules(), DeviceRequests: deviceRequests(s.GetCdiDevices()),
	}
	o.setLimits(l)
	o.setMounts(s.GetMounts())
	return o
}

func (o *hostConfigView) setLimits(l *api.ContainerLimits) {
	o.Memory, o.MemoryReservation, o.MemorySwap, o.MemorySwappiness = l.GetMemoryBytes(), l.GetMemoryReservation(), swapLimit(l), swappiness(l)
	o.NanoCPUs, o.CPUShares, o.CPUPeriod, o.CPUQuota = l.GetNanoCpus(), l.GetCpuShares(), l.GetCpuPeriod(), l.GetCpuQuota()
	o.CPURealtimePeriod, o.CPURealtimeRuntime = int64(l.GetCpuRtPeriod()), l.GetCpuRtRuntime()
	o.CpusetCpus, o.CpusetMems, o.PidsLimit, o.BlkioWeight = l.GetCpusetCpus(), l.GetCpusetMems(), l.GetPids(), l.GetBlkioWeight()
	o.OomKillDisable, o.CgroupConf = l.GetOomKillDisable(), orEmptyMap(l.GetConf())
	o.BlkioDeviceReadBps, o.BlkioDeviceWriteBps = rateObjects(l.GetReadBps()), rateObjects(l.GetWriteBps())
	o.BlkioDeviceReadIOps, o.BlkioDeviceWriteIOps = rateObjects(l.GetReadIops()), rateObjects(l.GetWriteIops())
	o.BlkioWeightDevice = []weightView{}
	for _, w := range l.GetBlkioWeightDevices() {
		o.BlkioWeightDevice = append(o.BlkioWeightDevice, weightView{Path: w.Path, Weight: w.Rate})
	}
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
func swappiness(l *api.ContainerLimits) *int64 {
	if l == nil {
		return nil
	}
	return l.MemorySwappiness
}

func rateObjects(rates []*api.DeviceRate) []rateView {
	out := []rateView{}
	for _, r := range rates {
		out = append(out, rateView{Path: r.Path, Rate: r.Rate})
	}
	return out
}

func deviceObjects(devices []*api.Device) []deviceView {
	out := []deviceView{}
	for _, d := range devices {
		out = append(out, deviceView{
			PathOnHost: d.HostPath, PathInContainer: orElse(d.ContainerPath, d.HostPath), CgroupPermissions: orElse(d.Permissions, "rwm"),
		})
	}
	return out
}

func deviceRequests(names []string) []deviceRequestView {
	if len(names) == 0 {
		return nil
	}
	return []deviceRequestView{{Driver: "cdi", DeviceIDs: names}}
}

func ulimitObjects(limits []*api.Ulimit) []ulimitView {
	out := []ulimitView{}
	for _, u := range limits {
		out = append(out, ulimitView{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
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
