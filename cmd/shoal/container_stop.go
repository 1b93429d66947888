package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerStopCommand(c *cli) *cobra.Command {
	return newStopping(c, "stop", "Stop one or more running containers",
		func(ctx context.Context, d *client.Client, r *api.StopContainerRequest) error {
			_, err := d.Containers.Stop(ctx, r)
			return err
		})
}

func newContainerRestartCommand(c *cli) *cobra.Command {
	return newStopping(c, "restart", "Restart one or more containers",
		func(ctx context.Context, d *client.Client, r *api.StopContainerRequest) error {
			_, err := d.Containers.Restart(ctx, r)
			return err
		})
}

// newStopping makes stop and restart: the same options, another call.
func newStopping(c *cli, verb, short string, do func(context.Context, *client.Client, *api.StopContainerRequest) error) *cobra.Command {
	var signal string
	var timeout int
	cmd := &cobra.Command{
		Use:               verb + " [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             short,
		Example:           "  shoal " + verb + " --timeout 30 web db\n  shoal " + verb + " --signal INT web",
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.runningNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var grace *durationpb.Duration
			if cmd.Flags().Changed("timeout") {
				if timeout < -1 {
					return fmt.Errorf("invalid value %d for --timeout: use seconds from 0 up, or -1 to wait until it ends by itself", timeout)
				}
				grace = durationpb.New(time.Duration(timeout) * time.Second)
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				return do(cmd.Context(), d, &api.StopContainerRequest{Ref: name, Signal: signal, Timeout: grace})
			})
		},
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait before killing the container")
	acceptNames(cmd.Flags(), map[string]string{"time": "timeout"})
	return cmd
}
