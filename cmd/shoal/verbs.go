package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// verb is a place at the top of the tree: its name and how to make what stands there.
type verb struct {
	name, section string
	make          func(*cli) *cobra.Command
}

// addVerbs adds the verb that the arguments name, and all of them where that is not clear. A thousand flags that nobody
// asks for are a third of a short command's time.
func addVerbs(root *cobra.Command, c *cli, args []string) {
	list := verbs()
	name := firstVerb(root, args)
	if i := slices.IndexFunc(list, func(v verb) bool { return v.name == name }); i >= 0 {
		list = list[i : i+1]
	}
	for _, v := range list {
		if cmd := v.make(c); cmd != nil {
			cmd.GroupID = v.section
			root.AddCommand(cmd)
		}
	}
}

// firstVerb is the first argument that is no flag and no flag's value. It is empty if there is none, or if a flag stands
// before it that asks for all verbs.
func firstVerb(root *cobra.Command, args []string) string {
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		flag := root.PersistentFlags().Lookup(strings.TrimPrefix(name, "--"))
		if s, ok := strings.CutPrefix(name, "-"); ok && len(s) == 1 {
			flag = root.PersistentFlags().ShorthandLookup(s)
		}
		switch {
		case !strings.HasPrefix(name, "-"):
			return args[i]
		case flag == nil:
			return ""
		case !hasValue && value == "":
			i++
		}
	}
	return ""
}

// verbs draws the tree. A command is made once for each place it stands in.
func verbs() []verb {
	list := []verb{
		{"run", sectionCommon, also(newContainerRunCommand, "shoal container run, shoal run")},
		{"exec", sectionCommon, also(newContainerExecCommand, "shoal container exec, shoal exec")},
		{"ps", sectionCommon, as("ps", newContainerListCommand, "shoal container ls, shoal container list, shoal container ps, shoal ps")},
		{"pull", sectionCommon, also(newImagePullCommand, "shoal image pull, shoal pull")},
		{"images", sectionCommon, as("images", newImageListCommand, "shoal image ls, shoal image list, shoal images")},
		{"version", sectionCommon, newVersionCommand},
		{"info", sectionCommon, also(newInfoCommand, "shoal system info, shoal info")},

		{"container", sectionManagement, newContainerCommand},
		{"image", sectionManagement, newImageCommand},
		{"network", sectionManagement, newNetworkCommand},
		{"volume", sectionManagement, newVolumeCommand},
		{"system", sectionManagement, newSystemCommand},

		{"cluster", sectionCluster, newClusterCommand},
		{"node", sectionCluster, newNodeCommand},
		{"service", sectionCluster, newServiceCommand},
	}
	list = append(list, containerVerbs()...)
	return append(list, []verb{
		{"events", "", also(newEventsCommand, "shoal system events, shoal events")},
		{"inspect", "", newInspectCommand},
		{"completion", "", newCompletionCommand},
		{"rmi", "", as("rmi", newImageRemoveCommand, "shoal image rm, shoal image remove, shoal rmi")},
		{"load", "", also(newImageLoadCommand, "shoal image load, shoal load")},
		{"save", "", also(newImageSaveCommand, "shoal image save, shoal save")},
		{"import", "", also(newImageImportCommand, "shoal image import, shoal import")},
		{"tag", "", also(newImageTagCommand, "shoal image tag, shoal tag")},
		{"daemon", "", func(*cli) *cobra.Command { return newDaemonCommand() }},
	}...)
}

// also notes the names that a command has.
func also(make func(*cli) *cobra.Command, names string) func(*cli) *cobra.Command {
	return func(c *cli) *cobra.Command { return alsoAs(make(c), names) }
}

// as gives a command another name for its second place in the tree.
func as(name string, make func(*cli) *cobra.Command, names string) func(*cli) *cobra.Command {
	return func(c *cli) *cobra.Command { return renamed(make(c), name, names) }
}
