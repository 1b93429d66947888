package main

import (
	"context"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func (c *cli) lookupContainer(ctx context.Context, name string) (any, error) {
	return pointed(c.containerView(ctx, name))
}

// pointed keeps a missing object from becoming something that is not nil.
func pointed[T any](v *T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (c *cli) containerView(ctx context.Context, name string) (*containerView, error) {
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
	c.addImageCommand(ctx, &o.Config, r.Container)
	o.HostConfig.Links = c.linkNames(ctx, r.Container)
	return o, nil
}

// addImageCommand shows the command that the image gives where the container has none of its own, as long as the image is there.
func (c *cli) addImageCommand(ctx context.Context, config *configView, k *api.Container) {
	s := k.GetSpec()
	if len(s.GetEntrypoint()) > 0 || s.GetEntrypointSet() {
		return // which leaves the image's arguments out, too
	}
	image, err := c.imageView(ctx, k.ImageId)
	if err != nil {
		return
	}
	config.Entrypoint = image.Config.Entrypoint
	if len(s.GetArgs()) == 0 {
		config.Cmd = image.Config.Cmd
	}
}

// linkNames are links on the default bridge as Docker shows them: "/db:/web/alias". A container that is gone has its ID only.
func (c *cli) linkNames(ctx context.Context, k *api.Container) []string {
	i := slices.IndexFunc(k.Networks, func(w *api.LocalNetworkAttachment) bool { return w.Network == "bridge" })
	if i < 0 {
		return nil
	}
	var out []string
	for _, l := range k.Networks[i].Links {
		name, alias, _ := strings.Cut(l, ":")
		if other, err := c.getContainer(ctx, name); err == nil {
			name = other.Name
		}
		out = append(out, "/"+name+":/"+k.Name+"/"+alias)
	}
	return out
}

// lookupContainerSize is lookupContainer with the sizes, which take the daemon some time.
func (c *cli) lookupContainerSize(ctx context.Context, name string) (any, error) {
	o, err := c.containerView(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	all, err := d.Containers.List(ctx, &api.ListContainersRequest{All: true, Size: true})
	for _, k := range all.GetContainers() {
		if k.Id == o.ID {
			o.SizeRw, o.SizeRootFs = &k.SizeRw, &k.SizeRootFs
		}
	}
	return pointed(o, err)
}

// containerObject is what a container's row says.
func containerObject(k *api.Container) *containerView {
	path, args := "", []string{}
	if len(k.Command) > 0 {
		path, args = k.Command[0], k.Command[1:]
	}
	return &containerView{
		ID: k.Id, Created: rfc3339(k.CreatedAt), Path: path, Args: args, State: containerStateObject(k), Image: k.ImageId, LogPath: k.LogPath,
		Name: "/" + k.Name, RestartCount: k.RestartCount, Driver: k.Driver, Platform: "linux", HostConfig: hostConfigObject(k),
		Mounts: mountObjects(k), Config: configObject(k), NetworkSettings: networkSettingsObject(k), TaskID: k.TaskId,
		ProcessLabel: k.ProcessLabel, MountLabel: k.MountLabel, AppArmorProfile: k.GetSpec().GetApparmor(),
	}
}

func containerStateObject(k *api.Container) stateView {
	s := stateView{
		Status: stateName(k.State), Running: k.State == api.ContainerState_CONTAINER_RUNNING || k.State == api.ContainerState_PAUSED,
		Paused: k.State == api.ContainerState_PAUSED, Restarting: k.State == api.ContainerState_RESTARTING,
		Dead: k.State == api.ContainerState_DEAD, OOMKilled: k.OomKilled, Pid: k.Pid, ExitCode: k.ExitCode,
		Error: k.Error, StartedAt: rfc3339(k.StartedAt), FinishedAt: rfc3339(k.FinishedAt),
	}
	if k.Health != "" || len(k.HealthLog) > 0 {
		log := []healthResultView{}
		for _, r := range k.HealthLog {
			log = append(log, healthResultView{Start: rfc3339(r.Start), End: rfc3339(r.End), ExitCode: r.ExitCode, Output: r.Output})
		}
		s.Health = &healthView{Status: orElse(k.Health, "unhealthy"), FailingStreak: k.FailingStreak, Log: log}
	}
	return s
}

// stateName is a state in Docker's words.
func stateName(s api.ContainerState) string { return lower(s) }

func mountObjects(k *api.Container) []mountView {
	out := []mountView{}
	for _, m := range k.Mounts {
		o := mountView{
			Type: m.Type, Source: m.Source, Destination: m.Destination, Mode: mountMode(m), RW: !m.ReadOnly,
			Propagation: m.GetMount().GetPropagation(),
		}
		switch m.Type {
		case "volume":
			o.Name, o.Driver = m.Name, m.Driver
		case "bind":
			o.Propagation = orElse(m.GetMount().GetPropagation(), "rprivate")
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

func configObject(k *api.Container) configView {
	s := k.GetSpec()
	o := configView{
		Hostname: k.Hostname, Domainname: s.GetDomainname(), ExposedPorts: setOf(k.ExposedPorts), User: k.User, Tty: s.GetTty(), OpenStdin: s.GetOpenStdin(),
		Env: givenEnv(k), Volumes: anonymousVolumes(k), Cmd: s.GetArgs(), Entrypoint: s.GetEntrypoint(), Image: k.ImageName, WorkingDir: k.Workdir,
		Labels: orEmptyMap(s.GetLabels()), StopSignal: s.GetStopSignal(),
	}
	if g := s.GetStopGracePeriod(); g != nil {
		seconds := int(g.AsDuration().Seconds())
		o.StopTimeout = &seconds
	}
	return o
}
