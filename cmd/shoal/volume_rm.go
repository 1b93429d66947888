package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newVolumeInspectCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] VOLUME [VOLUME...]",
		Short:             "Display detailed information on one or more volumes",
		Example:           `  shoal volume inspect -f '{{.Mountpoint}}' data`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.volumeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inspect(cmd.Context(), args, format, c.lookupVolume)
		},
	}
	addObjectFormat(cmd, &format)
	return cmd
}

func newVolumeRemoveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] VOLUME [VOLUME...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
		Example:           `  shoal volume rm data scratch`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.volumeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				_, err := d.Containers.RemoveVolume(cmd.Context(), &api.RemoveVolumeRequest{Name: name, Force: force})
				if force && client.IsNotFound(err) {
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of one or more volumes")
	return cmd
}
