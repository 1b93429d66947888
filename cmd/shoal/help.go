package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// printHelp writes a command's help as Docker lays it out: usage, sentence, aliases, options, commands. Examples are Shoal's own.
func printHelp(cmd *cobra.Command, w io.Writer) {
	fmt.Fprintf(w, "Usage:  %s\n\n%s\n", usageLine(cmd), longText(cmd))
	printAliases(cmd, w)
	printOptions(cmd.LocalNonPersistentFlags(), "Options:", w)
	printExamples(cmd, w)
	if cmd.HasAvailableSubCommands() {
		printCommands(cmd, w)
		if !cmd.HasParent() {
			printOptions(cmd.PersistentFlags(), "Global Options:", w)
		}
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more information on a command.\n", cmd.CommandPath())
	}
}

func longText(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return strings.TrimSpace(cmd.Long)
	}
	return cmd.Short
}

// usageLine is the command's path and the arguments that its Use names.
func usageLine(cmd *cobra.Command) string {
	path := cmd.CommandPath()
	if cmd.HasAvailableSubCommands() {
		if !cmd.HasParent() {
			return path + " [OPTIONS] COMMAND"
		}
		return path + " COMMAND"
	}
	_, args, _ := strings.Cut(cmd.Use, " ")
	return strings.TrimSpace(path + " " + args)
}

func printAliases(cmd *cobra.Command, w io.Writer) {
	names := cmd.Annotations[aliasesKey]
	if names == "" && len(cmd.Aliases) > 0 {
		parent := cmd.Parent().CommandPath()
		names = parent + " " + cmd.Name()
		for _, a := range cmd.Aliases {
			names += ", " + parent + " " + a
		}
	}
	if names != "" {
		fmt.Fprintf(w, "\nAliases:\n  %s\n", names)
	}
}

func printOptions(flags *pflag.FlagSet, title string, w io.Writer) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, "\n%s\n%s", title, flags.FlagUsagesWrapped(width(w, 80)))
}

func printExamples(cmd *cobra.Command, w io.Writer) {
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
}

// printCommands lists the children by section, in the order the sections were added.
func printCommands(cmd *cobra.Command, w io.Writer) {
	for _, g := range cmd.Groups() {
		printSection(cmd, g.Title, g.ID, w)
	}
	printSection(cmd, "Commands:", "", w)
}

func printSection(cmd *cobra.Command, title, id string, w io.Writer) {
	var lines strings.Builder
	for _, child := range cmd.Commands() {
		if child.GroupID == id && child.IsAvailableCommand() {
			fmt.Fprintf(&lines, "  %-*s  %s\n", cmd.NamePadding(), child.Name(), child.Short)
		}
	}
	if lines.Len() > 0 {
		fmt.Fprintf(w, "\n%s\n%s", title, lines.String())
	}
}

// newHelpCommand is "help run", another way to say "run --help".
func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Short:  "Print the help of a command",
		Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(cmd, rest[0])
			}
			return cmd.Help()
		},
	}
}
