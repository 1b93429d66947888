package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServiceRollbackCommand(c *cli) *cobra.Command {
	var detach, quiet bool
	cmd := &cobra.Command{
		Use:   "rollback [OPTIONS] SERVICE",
		Short: "Revert changes to a service's configuration",
		Example: `  shoal service rollback web
  shoal service rollback --detach web`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.rollback(cmd.Context(), args[0], detach, quiet)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "Exit immediately instead of waiting for the service to converge")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress progress output")
	return cmd
}

func (c *cli) rollback(ctx context.Context, name string, detach, quiet bool) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	r, err := d.Control.UpdateService(ctx, &api.UpdateServiceRequest{Ref: name, Rollback: true})
	if err != nil {
		return err
	}
	c.warn(r.Warnings)
	fmt.Fprintln(c.out, name)
	if detach {
		return nil
	}
	return c.waitRollback(ctx, r.Service.Id, quiet)
}
