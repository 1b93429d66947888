package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newImageSaveCommand(c *cli) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE [IMAGE...]",
		Short: "Save one or more images to a tar archive (streamed to STDOUT by default)",
		Example: `  shoal save -o all.tar web:1 web:2
  shoal save web:1 | ssh node2 shoal load`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "-" {
				return wholeFile(output, func(w io.Writer) error { return c.save(cmd.Context(), args, w) })
			}
			if _, ok := terminalOf(c.out); ok {
				return fmt.Errorf("an archive is not for a terminal: use -o FILE or redirect")
			}
			return c.save(cmd.Context(), args, c.out)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

// wholeFile writes beside the file and renames, so that what is there is whole.
func wholeFile(path string, write func(io.Writer) error) error {
	to, err := localEnd(path)
	if err != nil {
		return err
	}
	if to.dir {
		return fmt.Errorf("invalid output path: %q is a directory", path)
	}
	path = to.path
	f, err := os.CreateTemp(filepath.Dir(path), ".shoal-save-*")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("invalid output path: directory %q does not exist", filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (c *cli) save(ctx context.Context, refs []string, w io.Writer) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.Images.Save(ctx, &api.SaveImageRequest{Refs: refs})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if isEOF(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(m.Data); err != nil {
			return err
		}
	}
}
