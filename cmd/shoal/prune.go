package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// pruneFlags are what the verbs of pruning share.
type pruneFlags struct {
	force  bool
	filter listOpt
}

// newPruneCommand makes a verb that asks, prunes and tells. request is asked after the flags are read; what it says to
// confirm is the warning.
func newPruneCommand(c *cli, short, filterHelp string, request func(*pruneFlags) (r *api.PruneRequest, warning string, err error)) *cobra.Command {
	f := &pruneFlags{filter: listOpt{check: checkPruneFilter, kind: "filter"}}
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             short,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, warning, err := request(f)
			if err != nil {
				return err
			}
			r.Filters = f.filter.values
			if !f.force && !c.confirm(warning+"\nAre you sure you want to continue? [y/N] ") {
				return nil // as Docker, which has done what it was told
			}
			return c.prune(cmd.Context(), r)
		},
	}
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&f.filter, "filter", "Provide filter values (e.g. "+filterHelp+")")
	return cmd
}

func checkPruneFilter(s string) (string, error) {
	key, value, _ := strings.Cut(s, "=")
	switch {
	case value == "":
		return "", fmt.Errorf("bad format of filter (expected name=value)")
	case key == "label" || key == "label!" || key == "until":
		return s, nil
	}
	return "", fmt.Errorf("unknown filter %q: use label, label! or until", key)
}

// confirm asks a question; only y is yes.
func (c *cli) confirm(question string) bool {
	fmt.Fprint(c.out, question)
	line, _ := bufio.NewReader(c.in).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(line), "y")
}

func (c *cli) prune(ctx context.Context, r *api.PruneRequest) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	done, err := d.Containers.Prune(ctx, r)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		names []string
	}{
		{"Deleted Containers:", done.Containers}, {"Deleted Networks:", done.Networks}, {"Deleted Volumes:", done.Volumes}, {"Deleted Images:", done.Images},
	} {
		if len(part.names) > 0 {
			fmt.Fprintf(c.out, "%s\n%s\n\n", part.title, strings.Join(part.names, "\n"))
		}
	}
	if r.Containers || r.Images || r.AllImages || r.Volumes || r.AllVolumes { // a network takes no space
		fmt.Fprintf(c.out, "Total reclaimed space: %s\n", units.HumanSize(float64(done.Reclaimed)))
	}
	return nil
}
