package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNodePsCommand(c *cli) *cobra.Command {
	var f taskFlags
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS] [NODE...]",
		Short: "List tasks running on one or more nodes, defaults to current node",
		Example: `  shoal node ps
  shoal node ps --filter desired-state=running node2 node3`,
		ValidArgsFunction: c.complete(c.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"self"}
			}
			return c.listTasks(cmd.Context(), &f, args, func(name string) (*api.ListTasksRequest, error) {
				n, err := c.getNode(cmd.Context(), name)
				return &api.ListTasksRequest{NodeId: n.GetId()}, err
			})
		},
	}
	addTaskFlags(cmd, &f)
	return cmd
}
