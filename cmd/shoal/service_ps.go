package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServicePsCommand(c *cli) *cobra.Command {
	var f taskFlags
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS] SERVICE [SERVICE...]",
		Short: "List the tasks of one or more services",
		Example: `  shoal service ps --no-trunc web
  shoal service ps --filter desired-state=running --filter node=node2 web`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.listTasks(cmd.Context(), &f, args, func(name string) (*api.ListTasksRequest, error) {
				s, err := c.getService(cmd.Context(), name)
				return &api.ListTasksRequest{ServiceId: s.GetService().GetId()}, err
			})
		},
	}
	addTaskFlags(cmd, &f)
	return cmd
}

func addTaskFlags(cmd *cobra.Command, f *taskFlags) {
	addListFlags(cmd, &f.listFlags, "Only display task IDs", "Do not truncate output", taskFilters...)
	cmd.Flags().BoolVar(&f.noResolve, "no-resolve", false, "Do not map IDs to Names")
}
