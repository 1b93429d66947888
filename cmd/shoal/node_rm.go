package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNodeRemoveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] NODE [NODE...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more nodes from the cluster",
		Example: `  shoal node rm node3
  shoal node rm --force node3     # though it is not down`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				_, err := d.Control.RemoveNode(cmd.Context(), &api.RemoveNodeRequest{Ref: name, Force: force})
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force remove a node from the cluster")
	return cmd
}
