package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerCommand(c *cli) *cobra.Command {
	cmd := group(&cobra.Command{Use: "container", Short: "Manage containers"},
		also(newContainerRunCommand, "shoal container run, shoal run")(c),
		also(newContainerExecCommand, "shoal container exec, shoal exec")(c),
		newContainerInspectCommand(c), newContainerPruneCommand(c))
	list := alsoAs(newContainerListCommand(c), "shoal container ls, shoal container list, shoal container ps, shoal ps")
	list.Aliases = []string{"list", "ps"}
	cmd.AddCommand(list)
	for _, v := range containerVerbs() {
		child := v.make(c)
		if v.name == "rm" {
			child.Aliases = []string{"remove"}
		}
		cmd.AddCommand(child)
	}
	return cmd
}

// containerVerbs stand both below `shoal container` and at the top.
func containerVerbs() []verb {
	list := []verb{
		{"attach", "", newContainerAttachCommand},
		{"commit", "", newContainerCommitCommand},
		{"cp", "", newContainerCopyCommand},
		{"create", "", newContainerCreateCommand},
		{"diff", "", newContainerDiffCommand},
		{"export", "", newContainerExportCommand},
		{"kill", "", newContainerKillCommand},
		{"logs", "", newContainerLogsCommand},
		{"pause", "", newContainerPauseCommand},
		{"port", "", newContainerPortCommand},
		{"rename", "", newContainerRenameCommand},
		{"restart", "", newContainerRestartCommand},
		{"rm", "", newContainerRemoveCommand},
		{"start", "", newContainerStartCommand},
		{"stats", "", newContainerStatsCommand},
		{"stop", "", newContainerStopCommand},
		{"top", "", newContainerTopCommand},
		{"unpause", "", newContainerUnpauseCommand},
		{"update", "", newContainerUpdateCommand},
		{"wait", "", newContainerWaitCommand},
	}
	for i, v := range list {
		names := "shoal container " + v.name + ", shoal " + v.name
		if v.name == "rm" {
			names = "shoal container rm, shoal container remove, shoal rm"
		}
		list[i].make = also(v.make, names)
	}
	return list
}

func newContainerInspectCommand(c *cli) *cobra.Command {
	var format string
	var size bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Display detailed information on one or more containers",
		Example: `  shoal container inspect -f '{{.State.Status}} {{.State.ExitCode}}' web
  shoal container inspect --size web`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inspect(cmd.Context(), args, format, c.lookupKind("container", size))
		},
	}
	addObjectFormat(cmd, &format)
	addSizeFlag(cmd, &size)
	return cmd
}

// getContainer finds a container by name or ID.
func (c *cli) getContainer(ctx context.Context, ref string) (*api.Container, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Containers.Inspect(ctx, &api.ContainerRequest{Ref: ref})
	return r.GetContainer(), err
}
