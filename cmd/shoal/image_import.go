package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newImageImportCommand(c *cli) *cobra.Command {
	var message, platform string
	change := listOpt{check: checkChange}
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] file|- [REPOSITORY[:TAG]]",
		Short: "Import the contents from a tarball to create a filesystem image",
		Example: `  shoal import rootfs.tar base:1
  tar -C rootfs -c . | shoal import -c 'CMD ["/bin/sh"]' -c 'ENV LANG=C' - base:1`,
		Args: rangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.Contains(args[0], "://") {
				return fmt.Errorf("importing from a URL is not supported: download %s and import the file", args[0])
			}
			p, err := parsePlatform(platform)
			if err != nil {
				return err
			}
			r, err := c.openInput(args[0], "import")
			if err != nil {
				return err
			}
			defer r.Close()
			first := &api.ImageUpload{Changes: change.values, Message: message, Platform: p}
			if len(args) == 2 {
				first.Ref = args[1]
			}
			return c.importImage(cmd.Context(), first, r)
		},
	}
	cmd.Flags().VarP(&change, "change", "c", "Apply Dockerfile instruction to the created image")
	cmd.Flags().StringVarP(&message, "message", "m", "", "Set commit message for imported image")
	cmd.Flags().StringVar(&platform, "platform", "", "Set platform if server is multi-platform capable")
	return cmd
}

// changes are the Dockerfile instructions that an import can apply.
var changes = []string{"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "USER", "WORKDIR", "LABEL", "VOLUME", "STOPSIGNAL", "HEALTHCHECK"}

func checkChange(s string) (string, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	for _, c := range changes {
		if strings.EqualFold(word, c) && strings.TrimSpace(rest) != "" {
			return s, nil
		}
	}
	return "", fmt.Errorf("'%s' is not an instruction that can be applied here: use %s with arguments", word, strings.Join(changes, ", "))
}

func (c *cli) importImage(ctx context.Context, first *api.ImageUpload, r io.Reader) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.Images.Import(ctx)
	if err != nil {
		return err
	}
	sent := upload(stream, first, r)
	last, err := showImageProgress(stream, c.err, true)
	if err != nil {
		return firstCause(sent, err)
	}
	if err := <-sent; err != nil {
		return err
	}
	fmt.Fprintln(c.out, last.GetImageId())
	return nil
}
