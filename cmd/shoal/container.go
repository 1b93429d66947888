package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerCommand(c *cli) *cobra.Command {
	cmd := group(&cobra.Command{Use: "container", Short: "Manage containers"},
		newContainerRunCommand(c), newContainerExecCommand(c), newContainerInspectCommand(c), newContainerPruneCommand(c))
	list := newContainerListCommand(c)
	list.Aliases = []string{"list", "ps"}
	cmd.AddCommand(list)
	cmd.AddCommand(containerVerbs(c)...)
	for _, child := range cmd.Commands() {
		switch child.Name() {
		case "inspect", "ls", "prune":
		case "rm":
			child.Aliases = []string{"remove"}
			alsoAs(child, containerVerbNames("rm"))
		default:
			alsoAs(child, containerVerbNames(child.Name()))
		}
	}
	alsoAs(list, "shoal container ls, shoal container list, shoal container ps, shoal ps")
	return cmd
}

// containerVerbNames are the places where a verb stands.
func containerVerbNames(verb string) string {
	if verb == "rm" {
		return "shoal container rm, shoal container remove, shoal rm"
	}
	return "shoal container " + verb + ", shoal " + verb
}

// containerVerbs are those that stand both below `shoal container` and at the top.
func containerVerbs(c *cli) []*cobra.Command {
	return []*cobra.Command{
		newContainerAttachCommand(c),
		newContainerCommitCommand(c),
		newContainerCopyCommand(c),
		newContainerCreateCommand(c),
		newContainerDiffCommand(c),
		newContainerExportCommand(c),
		newContainerKillCommand(c),
		newContainerLogsCommand(c),
		newContainerPauseCommand(c),
		newContainerPortCommand(c),
		newContainerRenameCommand(c),
		newContainerRestartCommand(c),
		newContainerRemoveCommand(c),
		newContainerStartCommand(c),
		newContainerStatsCommand(c),
		newContainerStopCommand(c),
		newContainerTopCommand(c),
		newContainerUnpauseCommand(c),
		newContainerUpdateCommand(c),
		newContainerWaitCommand(c),
	}
}

func newContainerInspectCommand(c *cli) *cobra.Command {
	var format string
	var size bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Display detailed information on one or more containers",
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
