package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
			if f.quiet && f.format != "" {
				fmt.Fprintln(c.err, "WARNING: Ignoring custom format, because both --format and --quiet are set.")
				f.format = ""
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
	if f.latest && f.last == -1 {
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

// allContainers are those of the node, whether they run or not, for what is told by what they use.
func (c *cli) allContainers(ctx context.Context) ([]*api.Container, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Containers.List(ctx, &api.ListContainersRequest{All: true})
	return r.GetContainers(), err
}
