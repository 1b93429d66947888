package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerDiffCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "diff CONTAINER",
		Short:             "Inspect changes to files or directories on a container's filesystem",
		Example:           `  shoal diff web`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			r, err := d.Containers.Diff(cmd.Context(), &api.ContainerRequest{Ref: args[0]})
			if err != nil {
				return err
			}
			letters := map[api.FileChange_Kind]string{api.FileChange_MODIFIED: "C", api.FileChange_ADDED: "A", api.FileChange_DELETED: "D"}
			for _, f := range r.Changes {
				fmt.Fprintln(c.out, letters[f.Kind], f.Path)
			}
			return nil
		},
	}
}
