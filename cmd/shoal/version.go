package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// Set by the linker, see the Makefile.
var (
	version = ""
	commit  = ""
)

// buildVersion is the linker's word, or what Go noted when it built this from a checkout.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

func newVersionCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the Shoal version information",
		Example: `  shoal version
  shoal version -f '{{.Client.Version}} {{.Server.Version}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.showVersion(cmd.Context(), format)
		},
	}
	addObjectFormat(cmd, &format)
	return cmd
}

// showVersion prints this program's version even if no daemon answers, and then fails as Docker does.
func (c *cli) showVersion(ctx context.Context, format string) error {
	v := map[string]any{"Client": map[string]any{
		"Version": buildVersion(), "GitCommit": commit, "GoVersion": runtime.Version(), "Os": runtime.GOOS, "Arch": runtime.GOARCH,
	}}
	info, err := c.info(ctx)
	if err == nil {
		v["Server"] = map[string]any{
			"Version": info.Version, "GitCommit": info.Commit, "GoVersion": info.GoVersion,
			"Os": info.Os, "Arch": info.Architecture, "KernelVersion": info.Kernel,
		}
	} else {
		v["Server"] = nil
	}
	if format != "" {
		if e := c.printObject(format, v); e != nil {
			return e
		}
		return err
	}
	c.printVersion("Client", v["Client"])
	if err == nil {
		fmt.Fprintln(c.out)
		c.printVersion("Server", v["Server"])
	}
	return err
}

func (c *cli) printVersion(who string, part any) {
	m := part.(map[string]any)
	fmt.Fprintf(c.out, "%s:\n", who)
	fmt.Fprintf(c.out, " %-18s%s\n", "Version:", m["Version"])
	fmt.Fprintf(c.out, " %-18s%s\n", "Go version:", m["GoVersion"])
	fmt.Fprintf(c.out, " %-18s%s\n", "Git commit:", m["GitCommit"])
	fmt.Fprintf(c.out, " %-18s%s/%s\n", "OS/Arch:", m["Os"], m["Arch"])
	if k, ok := m["KernelVersion"]; ok {
		fmt.Fprintf(c.out, " %-18s%s\n", "Kernel version:", k)
	}
}

func (c *cli) info(ctx context.Context) (*api.InfoResponse, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	return d.Local.Info(ctx, &api.InfoRequest{})
}
