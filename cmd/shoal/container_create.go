package main

import (
	"context"
	"errors"
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
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a new container",
		Example: `  shoal create --name web --restart unless-stopped -v data:/srv nginx
  shoal create --name job --network none --read-only --tmpfs /tmp:size=16m job:1`,
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

// wrongPlatform is the platform of the image that is here, "" if it is the one asked for or there is no image.
func wrongPlatform(ctx context.Context, d *client.Client, image string, asked *api.Platform) (string, error) {
	if asked == nil {
		return "", nil
	}
	r, err := d.Images.Inspect(ctx, &api.InspectImageRequest{Ref: image})
	if client.IsNotFound(err) {
		return "", nil
	}
	p := r.GetImage().GetPlatform()
	if err != nil || p.GetOs() == asked.Os && p.GetArchitecture() == asked.Architecture {
		return "", err
	}
	return p.GetOs() + "/" + p.GetArchitecture(), nil
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
	id, err := newIDFile(o.cidfile)
	if err != nil {
		return nil, err
	}
	r, err := c.createPulling(ctx, req, o, platform)
	if err := id.end(r.GetId()); err != nil {
		c.sayError(err) // the container is there, and the answer names it
	}
	if err != nil {
		return nil, err
	}
	c.warn(r.Warnings)
	return r, nil
}

// idFile is the file of --cidfile; nil without that option.
type idFile struct{ *os.File }

// newIDFile makes the file before the container, so that no container is made whose ID has no place.
func newIDFile(path string) (*idFile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return nil, fmt.Errorf("container ID file %s exists: remove it or name another", path)
	}
	if err != nil {
		return nil, fmt.Errorf("make the container ID file: %w", err)
	}
	return &idFile{f}, nil
}

// end writes the ID, or removes the file if there is none.
func (f *idFile) end(id string) error {
	if f == nil {
		return nil
	}
	if id == "" {
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}
	_, err := f.WriteString(id)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the container ID: %w", err)
	}
	return nil
}

// createPulling asks first and pulls only if the image is what is missing: most often it is there.
func (c *cli) createPulling(ctx context.Context, req *api.CreateContainerRequest, o *containerFlags, platform *api.Platform) (*api.CreateContainerResponse, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	if err := c.pullBefore(ctx, d, req.Spec.Image, o, platform); err != nil {
		return nil, err
	}
	r, err := d.Containers.Create(ctx, req)
	if !client.IsNotFound(err) || o.pull != "missing" {
		return r, err
	}
	image := req.Spec.Image
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

// pullBefore pulls an image that is here, too: because --pull says so, or because it is for another platform.
func (c *cli) pullBefore(ctx context.Context, d *client.Client, image string, o *containerFlags, platform *api.Platform) error {
	switch o.pull {
	case "always":
		_, err := c.pull(ctx, image, platform, c.err, o.quiet)
		return err
	case "missing", "never":
	default:
		return fmt.Errorf("invalid value '%s' for --pull: use always, missing or never", o.pull)
	}
	other, err := wrongPlatform(ctx, d, image, platform)
	switch {
	case err != nil || other == "":
		return err
	case o.pull == "never":
		return fmt.Errorf("image %s is for %s, not for %s: pull it for that platform", image, other, o.platform)
	}
	if _, err := c.pull(ctx, image, platform, c.err, o.quiet); err != nil {
		return fmt.Errorf("image %s is here for %s only: %w", image, other, err)
	}
	return nil
}
