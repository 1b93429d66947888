package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerPruneCommand(c *cli) *cobra.Command {
	cmd := newPruneCommand(c, "Remove all stopped containers", `"until=<timestamp>"`, "", func(*pruneFlags) (*api.PruneRequest, string, error) {
		return &api.PruneRequest{Containers: true}, "WARNING! This will remove all stopped containers.", nil
	})
	cmd.Example = `  shoal container prune -f --filter until=24h
  shoal container prune --filter label=app=test`
	return cmd
}
