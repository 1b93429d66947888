package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNetworkDisconnectCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "disconnect [OPTIONS] NETWORK CONTAINER",
		Short:             "Disconnect a container from a network",
		Example:           `  shoal network disconnect back web`,
		Args:              exactArgs(2),
		ValidArgsFunction: c.completeNetworkThenContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := c.localNetwork(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			_, err = d.Containers.DisconnectNetwork(cmd.Context(), &api.DisconnectNetworkRequest{Ref: args[1], Network: network, Force: force})
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not error if the container is not on the network")
	return cmd
}
