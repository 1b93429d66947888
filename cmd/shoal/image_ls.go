package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var imageListing = listing{
	fields: []field{
		{"Repository", "REPOSITORY"}, {"Tag", "TAG"}, {"Digest", "DIGEST"}, {"ID", "IMAGE ID"}, {"CreatedSince", "CREATED"},
		{"CreatedAt", "CREATED AT"}, {"Size", "SIZE"}, {"Containers", "CONTAINERS"}, {"SharedSize", "SHARED SIZE"}, {"UniqueSize", "UNIQUE SIZE"},
	},
	table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
	quiet: "ID",
}

func newImageListCommand(c *cli) *cobra.Command {
	var f listFlags
	var all, digests bool
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS] [REPOSITORY[:TAG]]",
		Aliases: []string{"list"},
		Short:   "List images",
		Example: `  shoal images --filter 'reference=registry.example.com/*'
  shoal images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
  shoal images -q --filter dangling=true`,
		Args:              rangeArgs(0, 1),
		ValidArgsFunction: c.completeFirst(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := f.filter.Set("reference=" + args[0]); err != nil {
					return err
				}
			}
			rows, err := c.imageRows(cmd.Context(), &f, all)
			if err != nil {
				return err
			}
			l := imageListing
			if digests {
				l.table = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
			}
			return c.list(l, f, rows)
		},
	}
	addListFlags(cmd, &f, "Only show image IDs", "Don't truncate output", "before", "dangling", "label", "reference", "since", "until")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Show all images (default hides intermediate images)")
	cmd.Flags().BoolVar(&digests, "digests", false, "Show digests")
	return cmd
}

func (c *cli) images(ctx context.Context, all bool) ([]*api.Image, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Images.List(ctx, &api.ListImagesRequest{All: all})
	return r.GetImages(), err
}

func (c *cli) imageRows(ctx context.Context, f *listFlags, all bool) ([]row, error) {
	list, err := c.images(ctx, all)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b *api.Image) int { return b.CreatedAt.AsTime().Compare(a.CreatedAt.AsTime()) })
	if list, err = filterImages(list, &f.filter); err != nil {
		return nil, err
	}
	var rows []row
	for _, i := range list {
		for _, tag := range imageTags(i, &f.filter) {
			rows = append(rows, imageRow(i, tag, f.noTrunc))
		}
	}
	if f.quiet {
		rows = slices.CompactFunc(rows, func(a, b row) bool { return a["ID"] == b["ID"] })
	}
	return rows, nil
}

func filterImages(list []*api.Image, f *filters) ([]*api.Image, error) {
	dangling, wanted, err := f.boolean("dangling")
	if err != nil {
		return nil, err
	}
	byName := func(ref string) *api.Image {
		for _, i := range list {
			if slices.Contains(i.Tags, ref) || slices.Contains(i.Tags, ref+":latest") || strings.HasPrefix(shortHex(i.Id), ref) || i.Id == ref {
				return i
			}
		}
		return nil
	}
	for _, key := range []string{"before", "since"} {
		for _, ref := range f.values[key] {
			if byName(ref) == nil {
				return nil, fmt.Errorf("filter %s=%s: no such image", key, ref)
			}
		}
	}
	until, err := oldest(f.values["until"], time.Now())
	if err != nil {
		return nil, err
	}
	keep := func(i *api.Image) bool {
		before := f.any("before", func(w string) bool {
			return i.CreatedAt.AsTime().Before(byName(w).CreatedAt.AsTime())
		})
		since := f.any("since", func(w string) bool {
			return i.CreatedAt.AsTime().After(byName(w).CreatedAt.AsTime())
		})
		return before && since && (until.IsZero() || i.CreatedAt.AsTime().Before(until)) && f.labels("label", imageLabels(i)) && (!wanted || dangling == (len(i.Tags) == 0))
	}
	return slices.DeleteFunc(list, func(i *api.Image) bool { return !keep(i) }), nil
}

// oldest is the earliest of the moments that were given; without any it is zero.
func oldest(moments []string, now time.Time) (time.Time, error) {
	var out time.Time
	for _, s := range moments {
		at, err := parseMoment("filter until", s, now)
		if err != nil {
			return out, err
		}
		if t := at.AsTime(); at != nil && (out.IsZero() || t.Before(out)) {
			out = t
		}
	}
	return out, nil
}

// imageTags are the tags of an image that the reference filter lets through; "" stands for an untagged one.
func imageTags(i *api.Image, f *filters) []string {
	tags := i.Tags
	if len(tags) == 0 {
		tags = []string{""}
	}
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool {
		return !f.any("reference", func(pattern string) bool { return matchReference(pattern, tag) })
	})
}

// matchReference compares as Docker does: a pattern without a tag matches every tag.
func matchReference(pattern, tag string) bool {
	name, _ := splitTag(tag)
	for _, s := range []string{tag, name} {
		if ok, err := path.Match(pattern, s); ok && err == nil {
			return true
		}
	}
	return false
}

func imageRow(i *api.Image, ref string, noTrunc bool) row {
	id := i.Id
	if !noTrunc {
		id = shortHex(id)
	}
	name, tag := "<none>", "<none>"
	if ref != "" {
		name, tag = splitTag(ref)
	}
	digest := "<none>"
	for _, d := range i.Digests {
		if repo, sum, ok := strings.Cut(d, "@"); ok && (ref == "" || repo == name) {
			digest = sum
		}
	}
	return row{
		"Repository": name, "Tag": tag, "Digest": digest, "ID": id, "CreatedSince": orElse(ago(i.CreatedAt), "N/A"),
		"CreatedAt": stamp(i.CreatedAt), "Size": units.HumanSizeWithPrecision(float64(i.Size), 3),
		"Containers": "N/A", "SharedSize": "N/A", "UniqueSize": "N/A", // system df -v knows them
		labelsKey: imageLabels(i),
	}
}
