package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServiceRemoveCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "rm SERVICE [SERVICE...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more services",
		Example:           `  shoal service rm web db`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				_, err := d.Control.RemoveService(cmd.Context(), &api.RemoveServiceRequest{Ref: name})
				return err
			})
		},
	}
}
