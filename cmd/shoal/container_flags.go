package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

// containerFlags are the options of run and create.
type containerFlags struct {
	specFlags
	isolation isolationFlags
	rates     rateFlags
	groups    groupFlags
	lists     specLists

	name, entrypoint, cidfile, pull, platform  string
	interactive, quiet                         bool
	privileged, rm, publishAll, oomKill        bool
	attach, labelFile, publish, volume, tmpfs  listOpt
	volumeDriver                               string
	volumesFrom, networkAlias, linkLocal, link listOpt
	network                                    networkOpt
	expose                                     listOpt
	domainname, cgroupParent                   string
	annotations                                mapOpt
	ip, ip6, mac, restart                      string
	runtime                                    string
	cpusetCPUs, cpusetMems                     string
	cpus                                       cpuOpt
	memory, memoryReservation, shmSize         bytesOpt
	memorySwap                                 swapOpt
	swappiness, pidsLimit                      int64
	cpuShares, cpuPeriod, cpuQuota, cpuBurst   int64
	blkioWeight                                uint16
	stopTimeout                                int
}

func (o *containerFlags) add(f *pflag.FlagSet) {
	o.specFlags.add(f, "h")
	acceptNames(f, map[string]string{"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"})
	o.lists.add(f, runNames)
	o.attach.check, o.linkLocal.check, o.link.check = checkAttach, checkLinkLocal, checkLink
	o.expose.check = func(s string) (string, error) { _, err := parseExpose(s); return s, err }
	o.network.fields = []string{"name", "alias", "ip", "ip6", "mac-address", "link-local-ip"}
	f.StringVar(&o.name, "name", "", "Assign a name to the container")
	f.StringVar(&o.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	f.StringVar(&o.cidfile, "cidfile", "", "Write the container ID to the file")
	f.StringVar(&o.pull, "pull", "missing", `Pull image before running ("always", "missing", "never")`)
	f.StringVar(&o.platform, "platform", "", "Set platform if server is multi-platform capable")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the pull output")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.VarP(&o.attach, "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	f.BoolVar(&o.rm, "rm", false, "Automatically remove the container and its associated anonymous volumes when it exits")
	f.StringVar(&o.restart, "restart", "no", "Restart policy to apply when a container exits")
	f.Var(&o.labelFile, "label-file", "Read in a line delimited file of labels")
	f.StringVar(&o.domainname, "domainname", "", "Container NIS domain name")
	f.Var(&o.annotations, "annotation", "Add an annotation to the container (passed through to the OCI runtime)")
	o.addNetwork(f)
	o.addResources(f)
	o.groups.add(f)
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container, below the daemon's")
	o.isolation.add(f)
	o.rates.add(f)
	f.BoolVar(&o.privileged, "privileged", false, "Give extended privileges to this container")
	f.StringVar(&o.runtime, "runtime", "", "Runtime to use for this container")
	f.VarP(&o.volume, "volume", "v", "Bind mount a volume")
	f.StringVar(&o.volumeDriver, "volume-driver", "", "Volume driver for the container's volumes given with -v")
	f.Var(&o.volumesFrom, "volumes-from", "Mount volumes from the specified container(s)")
	f.Var(&o.tmpfs, "tmpfs", "Mount a tmpfs directory")
	refuseRunFlags(f)
	f.IntVar(&o.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
}

func (o *containerFlags) addNetwork(f *pflag.FlagSet) {
	f.Var(&o.network, "network", "Connect a container to a network")
	f.Var(&o.networkAlias, "network-alias", "Add network-scoped alias for the container")
	f.StringVar(&o.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.Var(&o.link, "link", "Add link to another container")
	f.Var(&o.linkLocal, "link-local-ip", "Container IPv4/IPv6 link-local addresses")
	f.StringVar(&o.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.VarP(&o.publish, "publish", "p", "Publish a container's port(s) to the host")
	f.Var(&o.expose, "expose", "Expose a port or a range of ports")
	f.BoolVarP(&o.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
}

func (o *containerFlags) addResources(f *pflag.FlagSet) {
	f.Var(&o.cpus, "cpus", "Number of CPUs")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&o.cpuBurst, "cpu-burst", 0, "Limit CPU CFS (Completely Fair Scheduler) burst in microseconds")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.VarP(&o.memory, "memory", "m", "Memory limit")
	f.Var(&o.memoryReservation, "memory-reservation", "Memory soft limit")
	f.Var(&o.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	f.Int64Var(&o.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	f.Int64Var(&o.pidsLimit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.Uint16Var(&o.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable")
	f.BoolVar(&o.oomKill, "oom-kill-disable", false, "Disable OOM Killer")
	f.Var(&o.shmSize, "shm-size", "Size of /dev/shm")
}

func checkAttach(s string) (string, error) {
	s = strings.ToLower(s)
	if !slices.Contains([]string{"stdin", "stdout", "stderr"}, s) {
		return "", fmt.Errorf("valid streams are STDIN, STDOUT and STDERR")
	}
	return s, nil
}

// request makes what the daemon is asked for. args are the image and the command.
func (o *containerFlags) request(f *pflag.FlagSet, args []string) (*api.CreateContainerRequest, error) {
	spec := &api.ContainerSpec{Image: args[0], Args: args[1:]}
	r := &api.CreateContainerRequest{Name: o.name, Spec: spec, AutoRemove: o.rm, PublishAll: o.publishAll, VolumesFrom: o.volumesFrom.values}
	for _, step := range []func() error{
		func() error { return o.lists.fill(spec) },
		func() error { return o.specFlags.apply(f, spec) },
		func() error { return o.fillMounts(spec) },
		func() error { return o.fillLabels(spec) },
		func() error { return o.fillLimits(f, spec) },
		func() error { return o.isolation.apply(f, spec) },
		func() error { return o.fillNetwork(f, r) },
		func() error { return o.fillRestart(r) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	spec.Domainname, spec.Annotations, spec.CgroupParent = o.domainname, o.annotations.values, o.cgroupParent
	spec.OpenStdin, spec.Privileged, spec.Runtime = o.interactive, o.privileged, o.runtime
	if f.Changed("entrypoint") {
		spec.EntrypointSet = true
		if o.entrypoint != "" {
			spec.Entrypoint = []string{o.entrypoint}
		}
	}
	if f.Changed("stop-timeout") {
		spec.StopGracePeriod = durationpb.New(time.Duration(o.stopTimeout) * time.Second)
	}
	return r, nil
}

func (o *containerFlags) fillMounts(spec *api.ContainerSpec) error {
	for _, v := range o.volume.values {
		m, err := parseVolume(v)
		if err != nil {
			return fmt.Errorf("invalid volume '%s': %w", v, err)
		}
		if m.Type == api.Mount_VOLUME {
			m.Driver = o.volumeDriver
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	for _, v := range o.tmpfs.values {
		m, err := parseTmpfs(v)
		if err != nil {
			return fmt.Errorf("invalid tmpfs '%s': %w", v, err)
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return checkTargets(spec.Mounts)
}

func (o *containerFlags) fillLabels(spec *api.ContainerSpec) error {
	for _, file := range o.labelFile.values {
		lines, err := readLines(file)
		if err != nil {
			return err
		}
		for k, v := range pairs(lines) {
			if _, given := spec.Labels[k]; !given {
				if spec.Labels == nil {
					spec.Labels = map[string]string{}
				}
				spec.Labels[k] = v
			}
		}
	}
	return nil
}

func (o *containerFlags) fillLimits(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	if o.cpus > 0 && (o.cpuQuota != 0 || o.cpuPeriod != 0) {
		return fmt.Errorf("conflicting options: --cpus cannot be given with --cpu-period or --cpu-quota")
	}
	if o.blkioWeight != 0 && (o.blkioWeight < 10 || o.blkioWeight > 1000) {
		return fmt.Errorf("invalid value %d for --blkio-weight: use 10 to 1000, or 0", o.blkioWeight)
	}
	l := &api.ContainerLimits{
		NanoCpus: int64(o.cpus), MemoryBytes: int64(o.memory), MemoryReservation: int64(o.memoryReservation),
		MemorySwap: int64(o.memorySwap), Pids: max(0, o.pidsLimit), CpuShares: o.cpuShares, CpusetCpus: o.cpusetCPUs, CpusetMems: o.cpusetMems,
		CpuPeriod: o.cpuPeriod, CpuQuota: o.cpuQuota, CpuBurst: o.cpuBurst, BlkioWeight: uint32(o.blkioWeight), OomKillDisable: o.oomKill,
	}
	if o.swappiness != -1 {
		if o.swappiness < 0 || o.swappiness > 100 {
			return fmt.Errorf("invalid value %d for --memory-swappiness: use 0 to 100", o.swappiness)
		}
		l.MemorySwappiness = &o.swappiness
	}
	spec.Limits, spec.ShmSize = l, int64(o.shmSize)
	o.groups.fill(l)
	return o.rates.fill(l)
}

func (o *containerFlags) fillNetwork(f *pflag.FlagSet, r *api.CreateContainerRequest) error {
	for _, p := range o.publish.values {
		ports, err := o.port(p)
		if err != nil {
			return fmt.Errorf("invalid port '%s': %w", p, err)
		}
		r.Ports = append(r.Ports, ports...)
	}
	for _, e := range o.expose.values {
		ports, _ := parseExpose(e)
		r.Spec.ExposedPorts = append(r.Spec.ExposedPorts, ports...)
	}
	for _, n := range o.network.values {
		if isNetworkMode(n.Network) {
			r.NetworkMode = n.Network
		} else {
			r.Networks = append(r.Networks, n)
		}
	}
	if r.NetworkMode != "" && len(o.network.values) > 1 {
		return fmt.Errorf("network %s cannot be combined with others", r.NetworkMode)
	}
	if !anyChanged(f, "ip", "ip6", "mac-address", "network-alias", "link-local-ip", "link") {
		return nil
	}
	if len(r.Networks) == 0 {
		if r.NetworkMode != "" {
			return fmt.Errorf("--ip, --ip6, --mac-address, --link, --link-local-ip and --network-alias need a network: %s has no addresses of its own", r.NetworkMode)
		}
		r.Networks = []*api.LocalNetworkAttachment{{Network: "bridge"}}
	}
	first := r.Networks[0]
	given(f, "mac-address", &first.Mac, o.mac)
	first.Aliases = append(first.Aliases, o.networkAlias.values...)
	first.Links = append(first.Links, o.link.values...)
	first.LinkLocalIps = append(first.LinkLocalIps, o.linkLocal.values...)
	for key, value := range map[string]string{"ip": o.ip, "ip6": o.ip6} {
		if value != "" {
			if err := networkIP(first, key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// port reads run's --publish in the short or the long form.
func (o *containerFlags) port(s string) ([]*api.PortBinding, error) {
	if !strings.Contains(s, "=") {
		return parsePort(s)
	}
	p, err := parseLongPort(s)
	if err != nil {
		return nil, err
	}
	return []*api.PortBinding{{Protocol: p.Protocol, ContainerPort: p.TargetPort, HostPort: p.PublishedPort}}, nil
}

func isNetworkMode(name string) bool {
	return slices.Contains([]string{"host", "none"}, name) || strings.HasPrefix(name, "container:")
}

func (o *containerFlags) fillRestart(r *api.CreateContainerRequest) error {
	p, err := parseRestart(o.restart)
	if err != nil {
		return err
	}
	if o.rm && p.Name != "no" {
		return fmt.Errorf("conflicting options: cannot specify both --restart and --rm")
	}
	r.Restart = p
	return nil
}

// parseRestart reads no, on-failure[:MAX], always or unless-stopped.
func parseRestart(s string) (*api.LocalRestartPolicy, error) {
	name, retries, hasRetries := strings.Cut(s, ":")
	p := &api.LocalRestartPolicy{Name: name}
	if !slices.Contains([]string{"no", "on-failure", "always", "unless-stopped"}, name) {
		return nil, fmt.Errorf("invalid restart policy '%s': use no, on-failure[:MAX], always or unless-stopped", s)
	}
	if hasRetries {
		n, err := strconv.ParseInt(retries, 10, 32)
		if err != nil || n < 0 || name != "on-failure" {
			return nil, fmt.Errorf("invalid restart policy '%s': only on-failure takes a number of retries", s)
		}
		p.MaxRetries = int32(n)
	}
	return p, nil
}
