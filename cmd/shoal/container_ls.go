package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var containerListing = listing{
	fields: []field{
		{"ID", "CONTAINER ID"}, {"Names", "NAMES"}, {"Image", "IMAGE"}, {"Command", "COMMAND"}, {"CreatedAt", "CREATED AT"},
		{"RunningFor", "CREATED"}, {"Ports", "PORTS"}, {"State", "STATE"}, {"Status", "STATUS"}, {"Size", "SIZE"},
		{"Labels", "LABELS"}, {"Mounts", "MOUNTS"}, {"LocalVolumes", "LOCAL VOLUMES"}, {"Networks", "NETWORKS"},
	},
	table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
	quiet: "ID",
}

// psFlags are the options of ps.
type psFlags struct {
	listFlags
	all, latest, size bool
	last              int
}

func newContainerListCommand(c *cli) *cobra.Command {
	var f psFlags
	cmd := &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List containers",
		Example: `  shoal ps -a --filter status=exited --filter label=app=web
  shoal ps --format 'table {{.Names}}\t{{.Status}}\t{{.Ports}}'
  shoal ps -q --filter ancestor=nginx`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.size = f.size || strings.Contains(f.format, ".Size")
			rows, err := c.containerRows(cmd.Context(), &f)
			if err != nil {
				return err
			}
			l := containerListing
			if f.size {
				l.table += "\t{{.Size}}"
			}
			return c.list(l, f.listFlags, rows)
		},
	}
	addListFlags(cmd, &f.listFlags, "Only display container IDs", "Don't truncate output",
		"ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network", "publish", "since", "status", "volume")
	fl := cmd.Flags()
	fl.BoolVarP(&f.all, "all", "a", false, "Show all containers (default shows just running)")
	fl.IntVarP(&f.last, "last", "n", -1, "Show n last created containers (includes all states)")
	fl.BoolVarP(&f.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	fl.BoolVarP(&f.size, "size", "s", false, "Display total file sizes")
	return cmd
}

func (c *cli) containerRows(ctx context.Context, f *psFlags) ([]row, error) {
	if f.latest {
		f.last = 1
	}
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	all := f.all || f.last > 0 || len(f.filter.values["status"]) > 0
	r, err := d.Containers.List(ctx, &api.ListContainersRequest{All: true, Size: f.size})
	if err != nil {
		return nil, err
	}
	keep, err := containerFilter(&f.filter, r.Containers)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(r.Containers, func(a, b *api.Container) int { return b.CreatedAt.AsTime().Compare(a.CreatedAt.AsTime()) })
	var rows []row
	for _, k := range r.Containers {
		if !all && !isUp(k) || !keep(k) {
			continue
		}
		if f.last > 0 && len(rows) == f.last {
			break
		}
		rows = append(rows, containerRow(k, f.noTrunc))
	}
	return rows, nil
}

func isUp(k *api.Container) bool {
	return k.State == api.ContainerState_CONTAINER_RUNNING || k.State == api.ContainerState_PAUSED || k.State == api.ContainerState_RESTARTING
}

// containerFilter checks the filters once and gives the test for one container.
func containerFilter(f *filters, all []*api.Container) (func(*api.Container) bool, error) {
	if err := f.oneOf("status", "created", "restarting", "running", "paused", "exited", "dead"); err != nil {
		return nil, err
	}
	if err := f.oneOf("health", "starting", "healthy", "unhealthy", "none"); err != nil {
		return nil, err
	}
	isTask, wantTask, err := f.boolean("is-task")
	if err != nil {
		return nil, err
	}
	for _, code := range f.values["exited"] {
		if _, err := strconv.Atoi(code); err != nil {
			return nil, fmt.Errorf("filter exited=%s: use an exit code", code)
		}
	}
	find := func(ref string) *api.Container {
		i := slices.IndexFunc(all, func(k *api.Container) bool { return k.Name == ref || strings.HasPrefix(k.Id, ref) })
		if i < 0 {
			return nil
		}
		return all[i]
	}
	for _, key := range []string{"before", "since"} {
		for _, ref := range f.values[key] {
			if find(ref) == nil {
				return nil, fmt.Errorf("filter %s=%s: no such container", key, ref)
			}
		}
	}
	for _, ports := range f.values["expose"] {
		if _, err := parseExpose(ports); err != nil {
			return nil, fmt.Errorf("filter expose=%s: %w", ports, err)
		}
	}
	for _, ports := range f.values["publish"] {
		number, _, _ := strings.Cut(ports, "/")
		if _, _, err := portRange(number); err != nil {
			return nil, fmt.Errorf("filter publish=%s: use PORT[-PORT][/PROTOCOL] of the host", ports)
		}
	}
	return func(k *api.Container) bool {
		return f.prefix("id", k.Id) && matchesName(f, k.Name) &&
			f.exact("status", stateName(k.State)) && f.exact("health", orElse(k.Health, "none")) &&
			f.labels("label", k.Spec.GetLabels()) && (!wantTask || isTask == (k.TaskId != "")) &&
			f.any("exited", func(w string) bool {
				return k.State == api.ContainerState_EXITED && w == strconv.Itoa(int(k.ExitCode))
			}) &&
			f.any("ancestor", func(w string) bool { return matchImage(k, w) }) &&
			f.any("network", func(w string) bool { return onNetwork(k, w) }) &&
			f.any("volume", func(w string) bool {
				return slices.ContainsFunc(k.Mounts, func(m *api.MountPoint) bool { return m.Name == w || m.Source == w || m.Destination == w })
			}) &&
			f.any("expose", func(w string) bool { return exposes(k, w) }) &&
			f.any("publish", func(w string) bool { return publishes(k, w) }) &&
			f.any("before", func(w string) bool { return k.CreatedAt.AsTime().Before(find(w).CreatedAt.AsTime()) }) &&
			f.any("since", func(w string) bool { return k.CreatedAt.AsTime().After(find(w).CreatedAt.AsTime()) })
	}, nil
}

// matchesName takes names with and without the slash before them that Docker's have.
func matchesName(f *filters, name string) bool {
	return len(f.values["name"]) == 0 || f.matches("name", name) || f.matches("name", "/"+name)
}

func matchImage(k *api.Container, ref string) bool {
	return k.ImageName == ref || k.ImageName == ref+":latest" || k.ImageName+":latest" == ref ||
		k.ImageId == ref || len(ref) >= 4 && strings.HasPrefix(shortHex(k.ImageId), ref)
}

func onNetwork(k *api.Container, ref string) bool {
	return slices.Contains(networkNamesOf(k), ref) ||
		slices.ContainsFunc(k.Endpoints, func(e *api.NetworkEndpoint) bool { return e.NetworkId == ref })
}

// exposes matches PORT[-PORT][/PROTOCOL] of the container.
func exposes(k *api.Container, ref string) bool {
	wanted, _ := parseExpose(ref)
	return slices.ContainsFunc(wanted, func(port string) bool { return slices.Contains(k.ExposedPorts, port) })
}

// publishes matches PORT[-PORT][/PROTOCOL] of the host.
func publishes(k *api.Container, ref string) bool {
	ports, protocol, hasProtocol := strings.Cut(ref, "/")
	lo, hi, err := portRange(ports)
	return err == nil && slices.ContainsFunc(k.Ports, func(p *api.PortBinding) bool {
		return lo <= p.HostPort && p.HostPort <= hi && (!hasProtocol || p.Protocol == protocol)
	})
}

func networkNamesOf(k *api.Container) []string {
	var out []string
	for _, e := range k.Endpoints {
		out = append(out, e.Network)
	}
	if len(out) == 0 {
		for _, n := range k.Networks {
			out = append(out, n.Network)
		}
	}
	if len(out) == 0 && hasNoNetwork(k.NetworkMode) {
		out = append(out, k.NetworkMode)
	}
	return out
}

// hasNoNetwork knows the modes that are shown in a network's place. Of others a container may have been disconnected.
func hasNoNetwork(mode string) bool {
	return mode == "host" || mode == "none" || mode == "external" || strings.HasPrefix(mode, "container:")
}

func containerRow(k *api.Container, noTrunc bool) row {
	id, command, image := k.Id, commandLine(k.Command), k.ImageName
	if !noTrunc {
		id, command = shortHex(id), ellipsis(command, 20)
	}
	var mounts []string
	volumes := 0
	for _, m := range k.Mounts {
		name := orElse(m.Name, m.Source)
		if !noTrunc {
			name = ellipsis(name, 15)
		}
		mounts = append(mounts, name)
		if m.Type == "volume" {
			volumes++
		}
	}
	return row{
		"ID": id, "Names": k.Name, "Image": orElse(image, shortHex(k.ImageId)), "Command": strconv.Quote(command),
		"CreatedAt": stamp(k.CreatedAt), "RunningFor": ago(k.CreatedAt), "Ports": containerPorts(k), "State": stateName(k.State),
		"Status": statusText(k), "Size": sizeText(k), "Labels": labelText(k.Spec.GetLabels()),
		"Mounts": strings.Join(mounts, ","), "LocalVolumes": strconv.Itoa(volumes), "Networks": strings.Join(networkNamesOf(k), ","),
		labelsKey: k.Spec.GetLabels(),
	}
}

// sizeText is what a container wrote, and all that it sees as its own.
func sizeText(k *api.Container) string {
	s := units.HumanSizeWithPrecision(float64(k.SizeRw), 3)
	if k.SizeRootFs > 0 {
		s += " (virtual " + units.HumanSizeWithPrecision(float64(k.SizeRootFs), 3) + ")"
	}
	return s
}

// statusText is "Up 5 minutes (healthy)", "Exited (0) 2 hours ago", ...
func statusText(k *api.Container) string {
	up := func() string { return "Up " + strings.TrimSuffix(ago(k.StartedAt), " ago") }
	switch k.State {
	case api.ContainerState_CONTAINER_RUNNING:
		if k.Health != "" && k.Health != "none" {
			health := k.Health
			if health == "starting" {
				health = "health: starting"
			}
			return up() + " (" + health + ")"
		}
		return up()
	case api.ContainerState_PAUSED:
		return up() + " (Paused)"
	case api.ContainerState_RESTARTING:
		return fmt.Sprintf("Restarting (%d) %s", k.ExitCode, ago(k.FinishedAt))
	case api.ContainerState_EXITED:
		return fmt.Sprintf("Exited (%d) %s", k.ExitCode, ago(k.FinishedAt))
	case api.ContainerState_DEAD:
		return "Dead"
	}
	return "Created"
}

// commandLine is a command as Docker shows it: arguments with blanks in quotes.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.Contains(a, " ") {
			quoted[i] = "'" + a + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// allContainers are those of the node, whether they run or not, for what is told by what they use.
func (c *cli) allContainers(ctx context.Context) ([]*api.Container, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Containers.List(ctx, &api.ListContainersRequest{All: true})
	return r.GetContainers(), err
}
