package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newVolumePruneCommand(c *cli) *cobra.Command {
	var all bool
	cmd := newPruneCommand(c, "Remove unused local volumes", `"label=<label>"`, "all", func(f *pruneFlags) (*api.PruneRequest, string, error) {
		if all || f.own == "true" {
			return &api.PruneRequest{AllVolumes: true}, "WARNING! This will remove all local volumes not used by at least one container.", nil
		}
		return &api.PruneRequest{Volumes: true}, "WARNING! This will remove anonymous local volumes not used by at least one container.", nil
	})
	cmd.Example = `  shoal volume prune -f
  shoal volume prune -a --filter 'label!=keep'`
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused volumes, not just anonymous ones")
	return cmd
}
