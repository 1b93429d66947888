package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerCommitCommand(c *cli) *cobra.Command {
	r := &api.CommitRequest{}
	change := listOpt{check: checkChange}
	cmd := &cobra.Command{
		Use:   "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short: "Create a new image from a container's changes",
		Example: `  shoal commit -m 'with curl' web web:2
  shoal commit -c 'ENV MODE=test' -c 'CMD ["/web"]' web web:test`,
		Args:              rangeArgs(1, 2),
		ValidArgsFunction: c.completeFirst(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Ref, r.Changes = args[0], change.values
			if len(args) == 2 {
				r.Image = args[1]
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			done, err := d.Containers.Commit(cmd.Context(), r)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, done.ImageId)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&r.Author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	f.VarP(&change, "change", "c", "Apply Dockerfile instruction to the created image")
	f.StringVarP(&r.Message, "message", "m", "", "Commit message")
	f.BoolVarP(&r.Pause, "pause", "p", true, "Pause container during commit")
	return cmd
}
