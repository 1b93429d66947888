package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerStartCommand(c *cli) *cobra.Command {
	var attach, interactive bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more stopped containers",
		Example: `  shoal start web db
  shoal start -a -i shell`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.containerNamesIn(api.ContainerState_CREATED, api.ContainerState_EXITED)),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := parseDetachKeys(detachKeys)
			if err != nil {
				return err
			}
			if attach || interactive {
				if len(args) > 1 {
					return usageError(cmd, "cannot start and attach multiple containers at once")
				}
				return c.startAttached(cmd.Context(), args[0], interactive, keys)
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				_, err := d.Containers.Start(cmd.Context(), &api.StartContainerRequest{Ref: name})
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "Attach container's STDIN")
	cmd.Flags().StringVar(&detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

func (c *cli) startAttached(ctx context.Context, name string, interactive bool, keys []byte) error {
	k, err := c.getContainer(ctx, name)
	if err != nil {
		return err
	}
	stdin := interactive && k.Spec.GetOpenStdin()
	if err := c.checkTTY(k.Spec.GetTty(), stdin); err != nil {
		return err
	}
	st, err := c.attach(ctx, k.Id, attachOptions{stdin: stdin, tty: k.Spec.GetTty(), sigProxy: true, keys: keys, out: c.out, err: c.err})
	if err != nil {
		return err
	}
	if err := st.ready(); err != nil {
		return err
	}
	if err := c.startCreated(ctx, k.Id, false); err != nil {
		return err
	}
	return endOfSession(st.run(ctx))
}
