package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newImageLoadCommand(c *cli) *cobra.Command {
	var input, platform string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load an image from a tar archive or STDIN",
		Example: `  shoal load -i web.tar
  shoal load --platform linux/arm64 < web.tar`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := parsePlatform(platform)
			if err != nil {
				return err
			}
			r, err := c.openInput(input, "load")
			if err != nil {
				return err
			}
			defer r.Close()
			return c.load(cmd.Context(), r, p, quiet)
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	cmd.Flags().StringVar(&platform, "platform", "", `Load only the given platform variant (e.g., "linux/amd64")`)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress the load output")
	return cmd
}

// openInput opens a file, or standard input unless that is a terminal.
func (c *cli) openInput(path, verb string) (io.ReadCloser, error) {
	if path != "" && path != "-" {
		return os.Open(path)
	}
	if _, ok := terminalOf(c.in); ok {
		return nil, fmt.Errorf("requested %s from stdin, but stdin is a terminal: name a file or redirect one", verb)
	}
	return io.NopCloser(c.in), nil
}

func (c *cli) load(ctx context.Context, r io.Reader, platform *api.Platform, quiet bool) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.Images.Load(ctx)
	if err != nil {
		return err
	}
	sent := upload(stream, &api.ImageUpload{Platform: platform}, r)
	view := newImageView(c.out, quiet)
	view.quiet = view.quiet || !view.live // scripts read what was loaded
	said := map[string]bool{}
	for {
		m, err := stream.Recv()
		if isEOF(err) {
			return <-sent
		}
		if err != nil {
			return firstCause(sent, err)
		}
		if m.ImageId == "" {
			view.show(m)
			continue
		}
		line := "Loaded image: " + m.Ref
		if m.Ref == "" {
			line = "Loaded image ID: " + m.ImageId
		}
		if !said[line] {
			said[line] = true
			fmt.Fprintln(c.out, line)
		}
	}
}

// uploadStream is what load and import send through.
type uploadStream interface {
	Send(*api.ImageUpload) error
	CloseSend() error
}

const uploadChunk = 256 << 10

// upload sends first and then the reader's content. What it reports is an error of the reader: an error of
// the stream comes out of Recv with the daemon's words.
func upload(s uploadStream, first *api.ImageUpload, r io.Reader) <-chan error {
	done := make(chan error, 1)
	go func() {
		defer s.CloseSend()
		if s.Send(first) != nil {
			done <- nil
			return
		}
		buf := make([]byte, uploadChunk)
		for {
			n, err := io.ReadFull(r, buf)
			if n > 0 && s.Send(&api.ImageUpload{Data: buf[:n]}) != nil {
				done <- nil
				return
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				done <- nil
				return
			}
			if err != nil {
				done <- fmt.Errorf("read the archive: %w", err)
				return
			}
		}
	}()
	return done
}

// firstCause prefers a reading error that has been met already to what it led to.
func firstCause(sent <-chan error, err error) error {
	select {
	case e := <-sent:
		if e != nil {
			return e
		}
	default:
	}
	return err
}
