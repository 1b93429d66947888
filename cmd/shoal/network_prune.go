package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNetworkPruneCommand(c *cli) *cobra.Command {
	cmd := newPruneCommand(c, "Remove all unused networks of this node", `"until=<timestamp>"`, "", func(*pruneFlags) (*api.PruneRequest, string, error) {
		return &api.PruneRequest{Networks: true}, "WARNING! This will remove all custom networks not used by at least one container.", nil
	})
	cmd.Example = `  shoal network prune -f --filter until=1h`
	return cmd
}
