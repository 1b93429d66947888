package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newImagePruneCommand(c *cli) *cobra.Command {
	var all bool
	cmd := newPruneCommand(c, "Remove unused images", `"until=<timestamp>"`, "dangling", func(f *pruneFlags) (*api.PruneRequest, string, error) {
		if all && f.own == "true" {
			return nil, "", errors.New("--all and --filter dangling=true contradict each other: leave one out")
		}
		if all || f.own == "false" {
			return &api.PruneRequest{AllImages: true}, "WARNING! This will remove all images without at least one container associated to them.", nil
		}
		return &api.PruneRequest{Images: true}, "WARNING! This will remove all dangling images.", nil
	})
	cmd.Example = `  shoal image prune -a -f --filter until=168h`
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not just dangling ones")
	return cmd
}
