package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// errDiffers is the exit code of a check that found something; the lines before it say what.
var errDiffers = errors.New("the kernel differs from what the cluster wants (it is repaired within seconds; run this again)")

func newNetworkCheckCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Compare this node's kernel with what the cluster's networks want",
		Long: `Compare links, addresses, routes, forwarding entries and rules in this node's kernel with what
the cluster's networks want. Every difference is a line; with any, the exit code is 1. Nothing is changed.`,
		Example: `  shoal network check
  shoal -H unix:///run/shoal/shoal.sock network check`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			r, err := d.Local.CheckNetwork(cmd.Context(), &api.CheckNetworkRequest{})
			if err != nil {
				return err
			}
			for _, line := range r.Differences {
				fmt.Fprintln(c.out, line)
			}
			if len(r.Differences) > 0 {
				return errDiffers
			}
			fmt.Fprintln(c.out, "no differences")
			return nil
		},
	}
}
