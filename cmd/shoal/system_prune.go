package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newSystemPruneCommand(c *cli) *cobra.Command {
	var all, volumes bool
	cmd := newPruneCommand(c, "Remove unused data", `"label=<key>=<value>"`, "", func(f *pruneFlags) (*api.PruneRequest, string, error) {
		r := &api.PruneRequest{Containers: true, Networks: true, Volumes: volumes, Images: !all, AllImages: all}
		return r, systemWarning(r, f.filter.values), nil
	})
	cmd.Example = `  shoal system prune -f --filter until=24h
  shoal system prune -a --volumes`
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images not just dangling ones")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "Prune anonymous volumes")
	return cmd
}

func systemWarning(r *api.PruneRequest, filters []string) string {
	lines := []string{"WARNING! This will remove:", "  - all stopped containers", "  - all networks not used by at least one container"}
	if r.Volumes {
		lines = append(lines, "  - all anonymous volumes not used by at least one container")
	}
	if r.AllImages {
		lines = append(lines, "  - all images without at least one container associated to them")
	} else {
		lines = append(lines, "  - all dangling images")
	}
	if len(filters) > 0 {
		lines = append(lines, "", "  Items to be pruned will be filtered with:")
		for _, f := range filters {
			lines = append(lines, "  - "+f)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
