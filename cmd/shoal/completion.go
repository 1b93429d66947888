package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
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

func (c *cli) serviceNames(ctx context.Context) []string {
	d, err := c.client()
	if err != nil {
		return nil
	}
	r, _ := d.Control.ListServices(ctx, &api.ListServicesRequest{})
	var out []string
	for _, s := range r.GetServices() {
		out = append(out, s.Spec.GetName())
	}
	return out
}

func (c *cli) nodeNames(ctx context.Context) []string {
	d, err := c.client()
	if err != nil {
		return nil
	}
	r, _ := d.Control.ListNodes(ctx, &api.ListNodesRequest{})
	out := []string{"self"}
	for _, n := range r.GetNodes() {
		out = append(out, nodeHostname(n))
	}
	return out
}

func (c *cli) overlayNames(ctx context.Context) []string {
	all, _ := c.networks(ctx)
	out := []string{"host"}
	for _, n := range all {
		if n.cluster != nil {
			out = append(out, n.name())
		}
	}
	return out
}

func (c *cli) networkNamesAll(ctx context.Context) []string {
	all, _ := c.networks(ctx)
	var out []string
	for _, n := range all {
		out = append(out, n.name())
	}
	return out
}

func (c *cli) localNetworkNames(ctx context.Context) []string {
	all, _ := c.networks(ctx)
	var out []string
	for _, n := range all {
		if n.local != nil {
			out = append(out, n.name())
		}
	}
	return out
}

func (c *cli) volumeNames(ctx context.Context) []string {
	all, _ := c.volumes(ctx)
	var out []string
	for _, v := range all {
		out = append(out, v.Name)
	}
	return out
}

func (c *cli) imageNames(ctx context.Context) []string {
	all, _ := c.images(ctx, false)
	var out []string
	for _, i := range all {
		for _, tag := range i.Tags {
			out = append(out, tag)
			if name, ok := strings.CutSuffix(tag, ":latest"); ok {
				out = append(out, name)
			}
		}
	}
	return out
}

// containerNamesIn gives the names of containers in one of the states; none given: in any.
func (c *cli) containerNamesIn(states ...api.ContainerState) namesFunc {
	return func(ctx context.Context) []string {
		d, err := c.client()
		if err != nil {
			return nil
		}
		r, _ := d.Containers.List(ctx, &api.ListContainersRequest{All: true})
		var out []string
		for _, k := range r.GetContainers() {
			if len(states) == 0 {
				out = append(out, k.Name)
			}
			for _, s := range states {
				if k.State == s {
					out = append(out, k.Name)
				}
			}
		}
		return out
	}
}

func (c *cli) containerNames(ctx context.Context) []string { return c.containerNamesIn()(ctx) }

func (c *cli) runningNames(ctx context.Context) []string {
	return c.containerNamesIn(api.ContainerState_CONTAINER_RUNNING, api.ContainerState_PAUSED)(ctx)
}

func (c *cli) allNames(ctx context.Context) []string {
	var out []string
	for _, names := range []namesFunc{c.containerNames, c.imageNames, c.networkNamesAll, c.volumeNames, c.serviceNames} {
		out = append(out, names(ctx)...)
	}
	return out
}
