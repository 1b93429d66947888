package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

// runFlags are what run has beside create.
type runFlags struct {
	containerFlags
	detach, sigProxy bool
	detachKeys       string
}

func newContainerRunCommand(c *cli) *cobra.Command {
	var o runFlags
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create and run a new container from an image",
		Example: `  shoal run -d --name web -p 8080:80 --memory 64m nginx
  shoal run --rm -it alpine sh
  shoal run --rm -v data:/data:ro -w /data alpine ls -l`,
		Args:              minArgs(1),
		ValidArgsFunction: c.completeFirst(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runError(c.runContainer(cmd.Context(), cmd.Flags(), &o, args))
		},
	}
	f := cmd.Flags()
	o.add(f)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run container in background and print container ID")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy received signals to the process")
	f.StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.SetInterspersed(false)
	c.completeFlag(cmd, "network", c.localNetworkNames)
	return cmd
}

// runError gives errors of run their exit code: the container's own is in an exitError already.
func runError(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) || errors.Is(err, context.Canceled) {
		return err
	}
	return &exitError{code: exitUsage, err: err}
}

func (c *cli) runContainer(ctx context.Context, f *pflag.FlagSet, o *runFlags, args []string) error {
	if o.detach && len(o.attach.values) > 0 {
		return &exitError{code: exitFailure, err: errors.New("conflicting options: cannot specify both --attach and --detach")}
	}
	keys, err := parseDetachKeys(o.detachKeys)
	if err != nil {
		return err
	}
	if !o.detach {
		if err := c.checkTTY(o.tty, o.interactive); err != nil {
			return err
		}
	}
	r, err := c.createContainer(ctx, f, &o.containerFlags, args)
	if err != nil {
		return err
	}
	if o.detach {
		if err := c.startCreated(ctx, r.Id, o.rm); err != nil {
			return err
		}
		fmt.Fprintln(c.out, r.Id)
		return nil
	}
	return c.runAttached(ctx, r.Id, o, keys)
}

// startCreated starts, and takes away a --rm container that could not start: nothing ran that could end.
func (c *cli) startCreated(ctx context.Context, id string, rm bool) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	if _, err = d.Containers.Start(ctx, &api.StartContainerRequest{Ref: id}); err == nil {
		return nil
	}
	if rm {
		_, _ = d.Containers.Remove(ctx, &api.RemoveContainerRequest{Ref: id, Force: true, Volumes: true})
	}
	return &exitError{code: startCode(err), err: err}
}

// startCode is 127 for a command that is not there, 126 for one that cannot be executed, else 125.
func startCode(err error) int {
	var e *client.Error
	if errors.As(err, &e) && e.ExitCode != 0 {
		return e.ExitCode
	}
	return exitUsage
}

// runAttached attaches before it starts, so that not a byte is lost, and ends with the container's code.
func (c *cli) runAttached(ctx context.Context, id string, o *runFlags, keys []byte) error {
	st, err := c.attach(ctx, id, attachOptions{
		stdin: o.interactive, tty: o.tty, keys: keys, sigProxy: o.sigProxy,
		out: o.writer("stdout", c.out), err: o.writer("stderr", c.err),
	})
	if err != nil {
		return err
	}
	if err := st.ready(); err != nil {
		return err
	}
	if err := c.startCreated(ctx, id, o.rm); err != nil {
		return err
	}
	return endOfSession(st.run(ctx))
}

// attached tells whether a stream of output was asked for; without --attach both are. For input it is --interactive that counts, as with Docker:
// a container whose input is open and not connected would wait for ever.
func (o *runFlags) attached(stream string) bool {
	return len(o.attach.values) == 0 || slices.Contains(o.attach.values, stream)
}

func (o *runFlags) writer(stream string, w io.Writer) io.Writer {
	if o.attached(stream) {
		return w
	}
	return io.Discard
}

// endOfSession turns how a session ended into how the program ends.
func endOfSession(exit *api.StreamExit, err error) error {
	switch {
	case errors.Is(err, errDetached):
		return nil
	case err != nil:
		return err
	case exit.GetError() != "" && exit.GetCode() == 0:
		return &exitError{code: exitUsage, err: errors.New(exit.Error)}
	case exit.GetError() != "":
		return &exitError{code: int(exit.Code), err: errors.New(exit.Error)}
	case exit.GetCode() != 0:
		return &exitError{code: int(exit.Code)}
	}
	return nil
}
