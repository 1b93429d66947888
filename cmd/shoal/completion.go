package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func newCompletionCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script of a shell",
		Long: `Print the completion script of a shell. To load it in the running one:

  bash:  source <(shoal completion bash)
  zsh:   source <(shoal completion zsh)
  fish:  shoal completion fish | source`,
		Example: `  shoal completion bash > ~/.local/share/bash-completion/completions/shoal
  shoal completion fish > ~/.config/fish/completions/shoal.fish`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(fixedNames("bash", "zsh", "fish")),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.out, true)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			}
			return usageError(cmd, "unknown shell %s: use bash, zsh or fish", args[0])
		},
	}
}

// namesFunc asks the daemon for the names that complete an argument.
type namesFunc func(ctx context.Context) []string

type completeFunc = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers names for every argument, without those that are on the line already.
func (c *cli) complete(names namesFunc) completeFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		c.fillDefaults()
		ctx, cancel := context.WithTimeout(context.Background(), shortTimeout)
		defer cancel()
		used := map[string]bool{}
		for _, a := range args {
			used[a] = true
		}
		var out []string
		for _, n := range names(ctx) {
			if strings.HasPrefix(n, prefix) && !used[n] {
				out = append(out, n)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFirst is complete for verbs whose further arguments are something else.
func (c *cli) completeFirst(names namesFunc) completeFunc {
	all := c.complete(names)
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return all(cmd, args, prefix)
	}
}

// completeScale offers "web=".
func (c *cli) completeScale(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	names, directive := c.complete(func(ctx context.Context) []string {
		var out []string
		for _, n := range c.serviceNames(ctx) {
			out = append(out, n+"=")
		}
		return out
	})(cmd, args, prefix)
	return names, directive | cobra.ShellCompDirectiveNoSpace
}

func (c *cli) completeFlag(cmd *cobra.Command, flag string, names namesFunc) {
	_ = cmd.RegisterFlagCompletionFunc(flag, c.complete(names))
}

func fixedNames(names ...string) namesFunc {
	return func(context.Context) []string { return names }
}
