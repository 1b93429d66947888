package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerExportCommand(c *cli) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] CONTAINER",
		Short: "Export a container's filesystem as a tar archive",
		Example: `  shoal export -o web.tar web
  shoal export web | shoal import - web:flat`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			export := func(w io.Writer) error { return c.export(cmd.Context(), args[0], w) }
			if output != "" && output != "-" {
				return wholeFile(output, export)
			}
			if _, ok := terminalOf(c.out); ok {
				return fmt.Errorf("an archive is not for a terminal: use -o FILE or redirect")
			}
			return export(c.out)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

func (c *cli) export(ctx context.Context, ref string, w io.Writer) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.Containers.Export(ctx, &api.ContainerRequest{Ref: ref})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, &chunkReader{stream: stream})
	return err
}

// chunkReader reads the archive in a stream of messages.
type chunkReader struct {
	stream interface {
		Recv() (*api.ArchiveChunk, error)
	}
	rest []byte
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		m, err := r.stream.Recv()
		if err != nil {
			return 0, err
		}
		r.rest = m.Data
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
