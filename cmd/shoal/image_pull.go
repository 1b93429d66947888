package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newImagePullCommand(c *cli) *cobra.Command {
	var quiet bool
	var platform string
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Example: `  shoal pull nginx:1.27
  shoal pull --platform linux/arm64 registry.example.com:5000/team/web:2`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parsePlatform(platform)
			if err != nil {
				return err
			}
			last, err := c.pull(cmd.Context(), args[0], p, c.out, quiet)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, orElse(last.GetRef(), args[0]))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	cmd.Flags().StringVar(&platform, "platform", "", "Set platform if server is multi-platform capable")
	return cmd
}

// pull fetches an image and shows how it goes. The last message names what it became.
func (c *cli) pull(ctx context.Context, ref string, platform *api.Platform, w io.Writer, quiet bool) (*api.ImageProgress, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	if !quiet && !strings.Contains(ref, "@") {
		if _, tag := splitTag(ref); tag == "<none>" {
			fmt.Fprintln(w, "Using default tag: latest")
		}
	}
	stream, err := d.Images.Pull(ctx, &api.PullImageRequest{Ref: ref, Platform: platform, Auth: registryAuth(ref)})
	if err != nil {
		return nil, err
	}
	return showImageProgress(stream, w, quiet)
}

// progressStream is what pull, load and import answer with.
type progressStream interface {
	Recv() (*api.ImageProgress, error)
}

// showImageProgress reads a stream to its end and returns the last message that names an image.
func showImageProgress(s progressStream, w io.Writer, quiet bool) (last *api.ImageProgress, err error) {
	view := newImageView(w, quiet)
	for {
		m, err := s.Recv()
		if isEOF(err) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		if m.ImageId != "" {
			last = m
			continue
		}
		view.show(m)
	}
}
