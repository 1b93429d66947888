package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newImageRemoveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] IMAGE [IMAGE...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more images",
		Example: `  shoal rmi web:1 web:2
  shoal rmi -f web`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				r, err := d.Images.Remove(cmd.Context(), &api.RemoveImageRequest{Ref: name, Force: force})
				if force && client.IsNotFound(err) {
					c.sayError(err) // as rm does; that it is gone is what was asked for
					return nil
				}
				for _, ref := range r.GetUntagged() {
					fmt.Fprintln(c.out, "Untagged:", ref)
				}
				for _, id := range r.GetDeleted() {
					fmt.Fprintln(c.out, "Deleted:", id)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force removal of the image")
	cmd.Flags().Bool("no-prune", false, "Do not delete untagged parents: there are none, an image stands for itself")
	return cmd
}

func newImageTagCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:             "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		Example:           `  shoal tag web:2 registry.example.com/team/web:stable`,
		Args:              exactArgs(2),
		ValidArgsFunction: c.completeFirst(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.client()
			if err != nil {
				return err
			}
			_, err = d.Images.Tag(cmd.Context(), &api.TagImageRequest{Source: args[0], Target: args[1]})
			return err
		},
	}
}

func newImageInspectCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] IMAGE [IMAGE...]",
		Short: "Display detailed information on one or more images",
		Example: `  shoal image inspect -f '{{json .Config.Env}}' nginx
  shoal image inspect -f '{{.Id}} {{.Os}}/{{.Architecture}}' nginx alpine`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inspect(cmd.Context(), args, format, c.lookupImage)
		},
	}
	addObjectFormat(cmd, &format)
	return cmd
}
