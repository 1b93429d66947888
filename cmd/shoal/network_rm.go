package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newNetworkRemoveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm NETWORK [NETWORK...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more networks",
		Example:           `  shoal network rm app back`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.networkNamesAll),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			all, err := c.networks(cmd.Context())
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				n, err := findNetwork(all, name)
				switch {
				case force && client.IsNotFound(err):
					return nil
				case err != nil:
					return err
				case n.cluster != nil:
					_, err = d.Control.RemoveNetwork(cmd.Context(), &api.RemoveNetworkRequest{Ref: n.cluster.Id})
				default:
					_, err = d.Containers.RemoveNetwork(cmd.Context(), &api.RemoveLocalNetworkRequest{Ref: n.local.Id})
				}
				if err == nil {
					fmt.Fprintln(c.out, name)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not error if the network does not exist")
	return cmd
}
