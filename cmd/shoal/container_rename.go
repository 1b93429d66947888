package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerRenameCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "rename CONTAINER NEW_NAME",
		Short:             "Rename a container",
		Example:           `  shoal rename web web-old`,
		Args:              exactArgs(2),
		ValidArgsFunction: c.completeFirst(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			_, err = d.Containers.Rename(cmd.Context(), &api.RenameContainerRequest{Ref: args[0], Name: args[1]})
			return err
		},
	}
}
