package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNodePsCommand(c *cli) *cobra.Command {
	var f taskFlags
	cmd := &cobra.Command{
		Use:               "ps [OPTIONS] [NODE...]",
		Short:             "List tasks running on one or more nodes, defaults to current node",
		ValidArgsFunction: c.complete(c.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{"self"}
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			var tasks []*api.TaskInfo
			failed := c.each(args, func(name string) error {
				n, err := c.getNode(cmd.Context(), name)
				if err != nil {
					return err
				}
				r, err := d.Control.ListTasks(cmd.Context(), &api.ListTasksRequest{NodeId: n.Id})
				tasks = append(tasks, r.GetTasks()...)
				return err
			})
			if failed != nil && len(tasks) == 0 {
				return failed
			}
			if err := c.list(taskListing, f.listFlags, taskRows(tasks, &f)); err != nil {
				return err
			}
			return failed
		},
	}
	addTaskFlags(cmd, &f)
	return cmd
}
