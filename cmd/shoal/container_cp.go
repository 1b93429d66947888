package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// cpFlags are the options of cp.
type cpFlags struct{ follow, ids, quiet bool }

func newContainerCopyCommand(c *cli) *cobra.Command {
	var o cpFlags
	cmd := &cobra.Command{
		Use: `cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-
	shoal cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH`,
		Short: "Copy files/folders between a container and the local filesystem",
		Long: `Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.`,
		Example: `  shoal cp site/. web:/srv
  shoal cp -a web:/var/log ./logs
  tar -C site -c . | shoal cp - web:/srv`,
		Args:              exactArgs(2),
		ValidArgsFunction: c.completeCopy,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.copyFiles(cmd, &o, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.ids, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	f.BoolVarP(&o.follow, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached")
	return cmd
}

func (c *cli) completeCopy(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	names, _ := c.complete(func(ctx context.Context) []string {
		var out []string
		for _, n := range c.containerNames(ctx) {
			out = append(out, n+":")
		}
		return out
	})(cmd, args, prefix)
	return names, cobra.ShellCompDirectiveNoSpace
}

// splitCopyArg cuts CONTAINER:PATH; what begins with a slash or a dot is local.
func splitCopyArg(arg string) (container, path string) {
	if filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	name, rest, ok := strings.Cut(arg, ":")
	if !ok {
		return "", arg
	}
	return name, rest
}

func (c *cli) copyFiles(cmd *cobra.Command, o *cpFlags, src, dst string) error {
	from, srcPath := splitCopyArg(src)
	to, dstPath := splitCopyArg(dst)
	for _, side := range [][2]string{{from, srcPath}, {to, dstPath}} {
		if side[0] != "" && side[1] == "" {
			return fmt.Errorf("no path given in container %s: use %s:PATH", side[0], side[0])
		}
	}
	if src == "" || dst == "" { // a variable of a script that is not set
		return fmt.Errorf("the source and the destination cannot be empty")
	}
	var n int64
	var err error
	switch {
	case from != "" && to != "":
		return fmt.Errorf("copying between containers is not supported")
	case from != "" && dstPath == "-":
		return c.copyToStdout(cmd.Context(), o, from, srcPath)
	case from != "":
		n, err = c.copyFrom(cmd.Context(), o, from, srcPath, dstPath)
	case to != "":
		n, err = c.copyTo(cmd.Context(), o, srcPath, to, dstPath)
	default:
		return usageError(cmd, "must specify at least one container source")
	}
	if _, live := terminalOf(c.err); err == nil && live && !o.quiet {
		fmt.Fprintf(c.err, "Successfully copied %s to %s\n", units.HumanSize(float64(n)), dst)
	}
	return err
}

func (c *cli) copyToStdout(ctx context.Context, o *cpFlags, container, path string) error {
	if _, ok := terminalOf(c.out); ok {
		return fmt.Errorf("an archive is not for a terminal: redirect it")
	}
	r, err := c.openCopy(ctx, o, container, path)
	if err != nil {
		return err
	}
	_, err = io.Copy(c.out, r)
	return err
}

// copyFrom unpacks what a container's path names on this machine. It returns the size of the archive.
func (c *cli) copyFrom(ctx context.Context, o *cpFlags, container, src, dst string) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := c.client()
	if err != nil {
		return 0, err
	}
	st, err := d.Containers.StatPath(ctx, &api.CopyFromRequest{Ref: container, Path: src, FollowLink: o.follow})
	if err != nil {
		return 0, err
	}
	to, err := localEnd(dst)
	if err != nil {
		return 0, err
	}
	from := copyEnd{path: src, exists: true, dir: fs.FileMode(st.Mode).IsDir()}
	dir, base, err := placeCopy(from, to, filepath.Split)
	if err != nil {
		return 0, err
	}
	r, err := c.openCopy(ctx, o, container, src)
	if err != nil {
		return 0, err
	}
	counted := &countingReader{r: r}
	err = c.unpack(ctx, counted, dir, base, o.ids)
	return counted.n, err
}

// copyTo sends what a local path names, or the archive on stdin, to a directory of a container.
func (c *cli) copyTo(ctx context.Context, o *cpFlags, src, container, dst string) (int64, error) {
	to, err := c.copyDestination(ctx, container, dst)
	if err != nil {
		return 0, err
	}
	first := &api.CopyToRequest{Ref: container, Path: to.path, CopyIds: true, NoOverwriteDir: true}
	if src == "-" {
		if !to.dir {
			return 0, fmt.Errorf("destination \"%s:%s\" must be a directory", container, dst)
		}
		return c.sendCopy(ctx, first, func(w io.Writer) error {
			_, err := io.Copy(w, c.in)
			return err
		})
	}
	look := os.Lstat
	if o.follow || strings.HasSuffix(src, "/") || strings.HasSuffix(src, "/.") || src == "." {
		look = os.Stat
	}
	info, err := look(src)
	if err != nil {
		return 0, err
	}
	dir, base, err := placeCopy(copyEnd{path: src, exists: true, dir: info.IsDir()}, to, path.Split)
	if err != nil {
		return 0, err
	}
	first.Path, first.CopyIds = dir, o.ids
	if base == "" {
		base = copyBase(src)
	}
	return c.sendCopy(ctx, first, func(w io.Writer) error { return pack(w, src, base, o.follow) })
}
