package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// attachOptions are how run, start and attach connect to a container.
type attachOptions struct {
	stdin, tty, sigProxy bool
	keys                 []byte
	out, err             io.Writer
}

// attach opens a session with a container. The caller waits for ready, then runs it.
func (c *cli) attach(ctx context.Context, id string, o attachOptions) (*streaming, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	s, err := d.Containers.Attach(ctx)
	if err != nil {
		return nil, err
	}
	so := streamOptions{stdin: o.stdin, tty: o.tty, detachKeys: o.keys, out: o.out, err: o.err}
	if o.sigProxy && !o.tty {
		so.signal = func(name string) error {
			_, err := d.Containers.Kill(ctx, &api.KillContainerRequest{Ref: id, Signal: name})
			return err
		}
	}
	open := &api.StreamInput{Kind: &api.StreamInput_Attach{Attach: &api.AttachOpen{Ref: id, Stdin: o.stdin}}}
	return c.newStreaming(s, open, so)
}

func newContainerAttachCommand(c *cli) *cobra.Command {
	var noStdin, sigProxy bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Attach local standard input, output, and error streams to a running container",
		Example: `  shoal attach --detach-keys ctrl-x web
  shoal attach --no-stdin --sig-proxy=false web`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.runningNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := parseDetachKeys(detachKeys)
			if err != nil {
				return err
			}
			return c.attachRunning(cmd.Context(), args[0], !noStdin, sigProxy, keys)
		},
	}
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "Do not attach STDIN")
	cmd.Flags().BoolVar(&sigProxy, "sig-proxy", true, "Proxy all received signals to the process")
	cmd.Flags().StringVar(&detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

func (c *cli) attachRunning(ctx context.Context, name string, stdin, sigProxy bool, keys []byte) error {
	k, err := c.getContainer(ctx, name)
	if err != nil {
		return err
	}
	if k.State != api.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("cannot attach to container %s: it is %s", k.Name, stateName(k.State))
	}
	stdin = stdin && k.Spec.GetOpenStdin()
	if err := c.checkTTY(k.Spec.GetTty(), stdin); err != nil {
		return err
	}
	st, err := c.attach(ctx, k.Id, attachOptions{stdin: stdin, tty: k.Spec.GetTty(), sigProxy: sigProxy, keys: keys, out: c.out, err: c.err})
	if err != nil {
		return err
	}
	if err := st.ready(); err != nil {
		return err
	}
	return endOfSession(st.run(ctx))
}
