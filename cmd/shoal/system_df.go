package main

import (
	"context"
	"fmt"
	"strconv"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var usageListing = listing{
	fields: []field{{"Type", "TYPE"}, {"TotalCount", "TOTAL"}, {"Active", "ACTIVE"}, {"Size", "SIZE"}, {"Reclaimable", "RECLAIMABLE"}},
	table:  "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
}

func newSystemUsageCommand(c *cli) *cobra.Command {
	var f listFlags
	var verbose bool
	cmd := &cobra.Command{
		Use:   "df [OPTIONS]",
		Short: "Show disk usage of this node's engine",
		Example: `  shoal system df -v
  shoal system df --format '{{.Type}} {{.Reclaimable}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.diskUsage(cmd.Context(), f, verbose)
		},
	}
	addFormatFlag(cmd, &f.format)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show detailed information on space usage")
	return cmd
}

func (c *cli) diskUsage(ctx context.Context, f listFlags, verbose bool) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	u, err := d.Containers.DiskUsage(ctx, &api.DiskUsageRequest{})
	if err != nil {
		return err
	}
	if verbose && f.format != "" && f.format != "table" {
		return c.printObject(f.format, usageObject(u))
	}
	if verbose {
		return c.diskUsageDetails(u)
	}
	return c.list(usageListing, f, []row{imagesUsage(u), containersUsage(u), volumesUsage(u)})
}

// usageRow is one line; free is what could be pruned.
func usageRow(kind string, total, active int, size, free int64) row {
	reclaimable := units.HumanSize(float64(free))
	if size > 0 {
		reclaimable += fmt.Sprintf(" (%d%%)", free*100/size)
	}
	return row{"Type": kind, "TotalCount": strconv.Itoa(total), "Active": strconv.Itoa(active), "Size": units.HumanSize(float64(size)), "Reclaimable": reclaimable}
}

func imagesUsage(u *api.DiskUsageResponse) row {
	active, free := 0, u.Layers
	for _, i := range u.Images {
		if i.Containers > 0 {
			active++
			free -= i.Unique
		}
	}
	return usageRow("Images", len(u.Images), active, u.Layers, free)
}

func containersUsage(u *api.DiskUsageResponse) row {
	active, size, free := 0, int64(0), int64(0)
	for _, k := range u.Containers {
		size += k.SizeRw
		if isUp(k) {
			active++
		} else {
			free += k.SizeRw
		}
	}
	return usageRow("Containers", len(u.Containers), active, size, free)
}

func volumesUsage(u *api.DiskUsageResponse) row {
	active, size, free := 0, int64(0), int64(0)
	for _, v := range u.Volumes {
		size += v.Size
		if v.Containers > 0 {
			active++
		} else {
			free += v.Size
		}
	}
	return usageRow("Local Volumes", len(u.Volumes), active, size, free)
}

// usageDetails are the tables of --verbose.
var usageDetails = map[string]listing{
	"image": {
		fields: []field{{"Repository", "REPOSITORY"}, {"Tag", "TAG"}, {"ID", "IMAGE ID"}, {"CreatedSince", "CREATED"}, {"Size", "SIZE"}, {"SharedSize", "SHARED SIZE"}, {"UniqueSize", "UNIQUE SIZE"}, {"Containers", "CONTAINERS"}},
		table:  "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
	},
	"container": {
		fields: containerListing.fields,
		table:  "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
	},
	"volume": {
		fields: []field{{"Name", "VOLUME NAME"}, {"Links", "LINKS"}, {"Size", "SIZE"}},
		table:  "{{.Name}}\t{{.Links}}\t{{.Size}}",
	},
}

// usageRows are the rows of --verbose.
func usageRows(u *api.DiskUsageResponse) (images, containers, volumes []row) {
	for _, i := range u.Images {
		images = append(images, imageUsageRow(i))
	}
	for _, k := range u.Containers {
		r := containerRow(k, false)
		r["Size"] = units.HumanSize(float64(k.SizeRw))
		containers = append(containers, r)
	}
	for _, v := range u.Volumes {
		r := volumeRow(v.Volume)
		r["Links"], r["Size"] = strconv.Itoa(int(v.Containers)), units.HumanSize(float64(v.Size))
		volumes = append(volumes, r)
	}
	return images, containers, volumes
}

// usageObject is what a format of --verbose is about. Nothing is built here, so that nothing is cached of it.
func usageObject(u *api.DiskUsageResponse) map[string][]row {
	images, containers, volumes := usageRows(u)
	o := map[string][]row{"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": nil}
	for name, rows := range o {
		if rows == nil {
			o[name] = []row{} // in JSON a list, not null
		}
	}
	return o
}

func (c *cli) diskUsageDetails(u *api.DiskUsageResponse) error {
	images, containers, volumes := usageRows(u)
	for i, part := range []struct {
		title, kind string
		rows        []row
	}{{"Images", "image", images}, {"Containers", "container", containers}, {"Local Volumes", "volume", volumes}} {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		fmt.Fprintf(c.out, "%s space usage:\n\n", part.title)
		if err := c.list(usageDetails[part.kind], listFlags{}, part.rows); err != nil {
			return err
		}
	}
	return nil
}

func imageUsageRow(u *api.ImageUsage) row {
	i := u.Image
	tag := ""
	if len(i.GetTags()) > 0 {
		tag = i.Tags[0]
	}
	r := imageRow(i, tag, false)
	r["Size"], r["Containers"] = units.HumanSize(float64(i.GetSize())), strconv.Itoa(int(u.Containers))
	r["SharedSize"], r["UniqueSize"] = units.HumanSize(float64(i.GetSize()-u.Unique)), units.HumanSize(float64(u.Unique))
	return r
}
