package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// noArgs, exactArgs, minArgs and rangeArgs check how many arguments a verb got.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, "'%s' accepts no arguments", cmd.CommandPath())
	}
	return nil
}

func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError(cmd, "'%s' requires %s", cmd.CommandPath(), count(n, "argument"))
		}
		return nil
	}
}

func minArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError(cmd, "'%s' requires at least %s", cmd.CommandPath(), count(n, "argument"))
		}
		return nil
	}
}

func rangeArgs(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < lo:
			return minArgs(lo)(cmd, args)
		case len(args) > hi:
			return usageError(cmd, "'%s' accepts at most %s", cmd.CommandPath(), count(hi, "argument"))
		}
		return nil
	}
}

// group makes a command that only holds others: alone it prints its help, with an unknown name it suggests.
func group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.AddCommand(children...)
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if instead := dockerVerbs()[name]; instead != "" && !cmd.HasParent() {
		return usageError(cmd, "unknown command '%s %s': %s", cmd.CommandPath(), name, instead)
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usageError(cmd, "unknown command '%s %s': did you mean '%s'?", cmd.CommandPath(), name, strings.Join(near, "' or '"))
	}
	return usageError(cmd, "unknown command '%s %s'", cmd.CommandPath(), name)
}

// dockerVerbs are verbs that Docker has and Shoal has not, with what to do instead: a guess by spelling would lead astray.
func dockerVerbs() map[string]string {
	const elsewhere = "build and push with another tool, then pull or load the image here"
	return map[string]string{
		"swarm": "use 'shoal cluster'", "stack": "use 'shoal service create' for each service",
		"compose": "use 'shoal run' or 'shoal service create' for each service",
		"login":   "pull takes the login that 'docker login' leaves in ~/.docker/config.json", "logout": "remove the login from ~/.docker/config.json",
		"context": "use -H or SHOAL_HOST", "dockerd": "use 'shoal daemon'",
		"build": elsewhere, "buildx": elsewhere, "builder": elsewhere, "push": elsewhere, "plugin": "a volume plugin is one that has a socket in /run/docker/plugins",
	}
}
