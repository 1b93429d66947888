package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// pruneFlags are what the verbs of pruning share.
type pruneFlags struct {
	force  bool
	filter listOpt
	key    string // a filter of the verb's own, true or false; it says what to take and is no filter of the daemon's
	own    string // its value
}

// set checks a filter and keeps the verb's own.
func (f *pruneFlags) set(s string) (string, error) {
	key, value, _ := strings.Cut(s, "=")
	if f.key == "" || key != f.key || value == "" {
		return checkPruneFilter(s, f.key)
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return "", fmt.Errorf("filter %s=%s: use true or false", key, value)
	}
	f.own = strconv.FormatBool(b)
	return s, nil
}

// asked are the daemon's filters.
func (f *pruneFlags) asked() []string {
	return slices.DeleteFunc(slices.Clone(f.filter.values), func(s string) bool { return f.key != "" && strings.HasPrefix(s, f.key+"=") })
}

// newPruneCommand makes a verb that asks, prunes and tells. request is asked after the flags are read; what it says to
// confirm is the warning. key is the verb's own filter, if it has one.
func newPruneCommand(c *cli, short, filterHelp, key string, request func(*pruneFlags) (r *api.PruneRequest, warning string, err error)) *cobra.Command {
	f := &pruneFlags{key: key}
	f.filter = listOpt{check: f.set, kind: "filter"}
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
			r.Filters = f.asked()
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

func checkPruneFilter(s, own string) (string, error) {
	key, value, _ := strings.Cut(s, "=")
	switch {
	case value == "":
		return "", fmt.Errorf("bad format of filter (expected name=value)")
	case key == "label" || key == "label!" || key == "until":
		return s, nil
	}
	if own != "" {
		own += ", "
	}
	return "", fmt.Errorf("unknown filter %q: use %slabel, label! or until", key, own)
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
