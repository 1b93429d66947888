package main

import (
	"context"
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
		RunE:              func(cmd *cobra.Command, args []string) error { return c.removeNetworks(cmd.Context(), args, force) },
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not error if the network does not exist")
	return cmd
}

// removeNetworks removes networks of this node and of the cluster. Missing ones are no error with force.
func (c *cli) removeNetworks(ctx context.Context, names []string, force bool) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	all, err := c.networks(ctx)
	if err != nil {
		return err
	}
	return c.each(names, func(name string) error {
		n, err := findNetwork(all, name)
		switch {
		case force && client.IsNotFound(err):
			return nil
		case err != nil:
			return err
		case n.cluster != nil:
			_, err = d.Control.RemoveNetwork(ctx, &api.RemoveNetworkRequest{Ref: n.cluster.Id})
		default:
			_, err = d.Containers.RemoveNetwork(ctx, &api.RemoveLocalNetworkRequest{Ref: n.local.Id})
		}
		if err == nil {
			fmt.Fprintln(c.out, name)
		}
		return err
	})
}
