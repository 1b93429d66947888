package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerPauseCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "pause CONTAINER [CONTAINER...]",
		Short:             "Pause all processes within one or more containers",
		Example:           `  shoal pause web db`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.containerNamesIn(api.ContainerState_CONTAINER_RUNNING)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				_, err := d.Containers.Pause(cmd.Context(), &api.ContainerRequest{Ref: name})
				return err
			})
		},
	}
}

func newContainerUnpauseCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "unpause CONTAINER [CONTAINER...]",
		Short:             "Unpause all processes within one or more containers",
		Example:           `  shoal unpause web db`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.containerNamesIn(api.ContainerState_PAUSED)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				_, err := d.Containers.Unpause(cmd.Context(), &api.ContainerRequest{Ref: name})
				return err
			})
		},
	}
}
