package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerRemoveCommand(c *cli) *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Remove one or more containers",
		Example: `  shoal rm web db
  shoal rm -f -v web     # running, and its anonymous volumes too`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				_, err := d.Containers.Remove(cmd.Context(), &api.RemoveContainerRequest{Ref: name, Force: force, Volumes: volumes})
				if force && client.IsNotFound(err) { // said, but what was wanted is so
					c.sayError(err)
					return nil
				}
				if err == nil {
					fmt.Fprintln(c.out, name)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	refuse(cmd.Flags(), true, "a link belongs to the container that was made with it: make that one anew without it", "link")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	return cmd
}
