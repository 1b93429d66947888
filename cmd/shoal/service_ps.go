package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServicePsCommand(c *cli) *cobra.Command {
	var f taskFlags
	cmd := &cobra.Command{
		Use:               "ps [OPTIONS] SERVICE [SERVICE...]",
		Short:             "List the tasks of one or more services",
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			var tasks []*api.TaskInfo
			failed := c.each(args, func(name string) error {
				s, err := c.getService(cmd.Context(), name)
				if err != nil {
					return err
				}
				r, err := d.Control.ListTasks(cmd.Context(), &api.ListTasksRequest{ServiceId: s.Service.Id})
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

func addTaskFlags(cmd *cobra.Command, f *taskFlags) {
	addListFlags(cmd, &f.listFlags, "Only display task IDs", "Do not truncate output", taskFilters...)
	cmd.Flags().BoolVar(&f.noResolve, "no-resolve", false, "Do not map IDs to Names")
}
