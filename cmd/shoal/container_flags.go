package main

import (
	"fmt"
	"maps"
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

// fillLabels adds those of files; what --label says counts more, and of files what an earlier one says.
func (o *containerFlags) fillLabels(spec *api.ContainerSpec) error {
	for _, file := range o.labelFile.values {
		lines, err := readLines(file)
		if err != nil {
			return err
		}
		labels := pairs(lines)
		if labels == nil {
			continue
		}
		maps.Copy(labels, spec.Labels)
		spec.Labels = labels
	}
	return nil
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
	name, retries, hasRetries := strings.Cut(orElse(s, "no"), ":")
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
