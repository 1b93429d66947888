package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerWaitCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "wait CONTAINER [CONTAINER...]",
		Short:             "Block until one or more containers stop, then print their exit codes",
		Example:           `  shoal wait job`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.runningNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				r, err := d.Containers.Wait(cmd.Context(), &api.WaitContainerRequest{Ref: name})
				if err != nil {
					return err
				}
				if r.Error != "" {
					return fmt.Errorf("%s: %s", name, r.Error)
				}
				fmt.Fprintln(c.out, r.ExitCode)
				return nil
			})
		},
	}
}
