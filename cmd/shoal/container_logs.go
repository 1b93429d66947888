package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerLogsCommand(c *cli) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Fetch the logs of a container",
		Example: `  shoal logs -f --tail 20 --since 10m web
  shoal logs -t --since 2026-01-02T13:00:00 --until 2026-01-02T14:00:00 web`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.containerLogs(cmd.Context(), args[0], &f)
		},
	}
	f.add(cmd, true)
	return cmd
}

func (c *cli) containerLogs(ctx context.Context, name string, f *logFlags) error {
	options, err := f.options(time.Now())
	if err != nil {
		return err
	}
	d, err := c.client()
	if err != nil {
		return err
	}
	stream, err := d.Containers.Logs(ctx, &api.ContainerLogsRequest{Ref: name, Options: options})
	if err != nil {
		return err
	}
	for {
		l, err := stream.Recv()
		if isEOF(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.writeLine(c.out, c.err, "", l); err != nil {
			return err
		}
	}
}
