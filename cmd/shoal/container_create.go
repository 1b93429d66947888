package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerCreateCommand(c *cli) *cobra.Command {
	var o containerFlags
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create a new container",
		Args:              minArgs(1),
		ValidArgsFunction: c.completeFirst(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.createContainer(cmd.Context(), cmd.Flags(), &o, args)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, r.Id)
			return nil
		},
	}
	o.add(cmd.Flags())
	cmd.Flags().SetInterspersed(false)
	c.completeFlag(cmd, "network", c.localNetworkNames)
	return cmd
}

// createContainer makes the container that the options describe, pulling its image if need be.
func (c *cli) createContainer(ctx context.Context, f *pflag.FlagSet, o *containerFlags, args []string) (*api.CreateContainerResponse, error) {
	req, err := o.request(f, args)
	if err != nil {
		return nil, runError(err) // Docker's code for options that do not fit, of create too
	}
	platform, err := parsePlatform(o.platform)
	if err != nil {
		return nil, err
	}
	if o.cidfile != "" {
		if _, err := os.Stat(o.cidfile); err == nil {
			return nil, fmt.Errorf("container ID file %s exists: remove it or name another", o.cidfile)
		}
	}
	r, err := c.createPulling(ctx, req, o, platform)
	if err != nil {
		return nil, err
	}
	c.warn(r.Warnings)
	if o.cidfile != "" {
		if err := os.WriteFile(o.cidfile, []byte(r.Id), 0o644); err != nil {
			return nil, fmt.Errorf("write the container ID: %w", err)
		}
	}
	return r, nil
}

// createPulling asks first and pulls only if the image is what is missing: most often it is there.
func (c *cli) createPulling(ctx context.Context, req *api.CreateContainerRequest, o *containerFlags, platform *api.Platform) (*api.CreateContainerResponse, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	image := req.Spec.Image
	switch o.pull {
	case "always":
		if _, err := c.pull(ctx, image, platform, c.err, o.quiet); err != nil {
			return nil, err
		}
	case "missing", "never":
	default:
		return nil, fmt.Errorf("invalid value '%s' for --pull: use always, missing or never", o.pull)
	}
	r, err := d.Containers.Create(ctx, req)
	if !client.IsNotFound(err) || o.pull != "missing" {
		return r, err
	}
	if _, e := d.Images.Inspect(ctx, &api.InspectImageRequest{Ref: image}); !client.IsNotFound(e) {
		return r, err // something else was not found
	}
	if !o.quiet {
		fmt.Fprintf(c.err, "Unable to find image '%s' locally\n", image)
	}
	if _, err := c.pull(ctx, image, platform, c.err, o.quiet); err != nil {
		return nil, err
	}
	return d.Containers.Create(ctx, req)
}
