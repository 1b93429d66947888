package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newClusterLeaveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "leave [OPTIONS]",
		Short: "Leave the cluster",
		Example: `  shoal cluster leave
  shoal cluster leave --force     # a manager`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := c.needLocal(cmd.CommandPath())
			if err != nil {
				return err
			}
			if _, err := d.Local.LeaveCluster(cmd.Context(), &api.LeaveClusterRequest{Force: force}); err != nil {
				return err
			}
			fmt.Fprintln(c.out, "Node left the cluster.")
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force this node to leave the cluster, ignoring warnings")
	return cmd
}
