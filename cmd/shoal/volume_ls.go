package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var volumeListing = listing{
	fields: []field{{"Driver", "DRIVER"}, {"Name", "VOLUME NAME"}, {"Scope", "SCOPE"}, {"Mountpoint", "MOUNTPOINT"}, {"Labels", "LABELS"},
		{"Links", "LINKS"}, {"Size", "SIZE"}, {"Availability", "AVAILABILITY"}, {"Group", "GROUP"}, {"Status", "STATUS"}},
	table: "{{.Driver}}\t{{.Name}}",
	quiet: "Name",
}

func newVolumeListCommand(c *cli) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List volumes",
		Example: `  shoal volume ls --filter dangling=true
  shoal volume ls --filter label=app=db --format '{{.Name}} {{.Mountpoint}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := c.volumeRows(cmd.Context(), &f)
			if err != nil {
				return err
			}
			return c.list(volumeListing, f, rows)
		},
	}
	addListFlags(cmd, &f, "Only display volume names", "", "dangling", "driver", "label", "name")
	return cmd
}

func (c *cli) volumeRows(ctx context.Context, f *listFlags) ([]row, error) {
	dangling, wantDangling, err := f.filter.boolean("dangling")
	if err != nil {
		return nil, err
	}
	all, err := c.volumes(ctx)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	if wantDangling {
		if used, err = c.usedVolumes(ctx); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b *api.Volume) int { return strings.Compare(a.Name, b.Name) })
	var rows []row
	for _, v := range all {
		if wantDangling && used[v.Name] == dangling {
			continue
		}
		if f.filter.exact("driver", v.Driver) && f.filter.matches("name", v.Name) && f.filter.labels("label", v.Labels) {
			rows = append(rows, volumeRow(v))
		}
	}
	return rows, nil
}

func volumeRow(v *api.Volume) row {
	return row{
		"Driver": v.Driver, "Name": v.Name, "Scope": orElse(v.Scope, "local"), "Mountpoint": v.Mountpoint, "Labels": labelText(v.Labels), labelsKey: v.Labels,
		"Links": "N/A", "Size": "N/A", // system df -v knows them
		"Availability": "N/A", "Group": "N/A", "Status": "N/A", // of cluster volumes, which are not there
	}
}

// usedVolumes are those that a container of this node mounts, running or not.
func (c *cli) usedVolumes(ctx context.Context) (map[string]bool, error) {
	containers, err := c.allContainers(ctx)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, k := range containers {
		for _, m := range k.Mounts {
			if m.Type == "volume" {
				used[m.Name] = true
			}
		}
	}
	return used, nil
}
