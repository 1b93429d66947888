package main

import (
	"bytes"
	"context"
	"fmt"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var statsListing = listing{
	fields: []field{
		{"ID", "CONTAINER ID"}, {"Container", "CONTAINER"}, {"Name", "NAME"}, {"CPUPerc", "CPU %"}, {"MemUsage", "MEM USAGE / LIMIT"},
		{"MemPerc", "MEM %"}, {"NetIO", "NET I/O"}, {"BlockIO", "BLOCK I/O"}, {"PIDs", "PIDS"},
	},
	table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
	quiet: "ID",
}

// statsFlags are the options of stats.
type statsFlags struct {
	listFlags
	all, noStream bool
}

func newContainerStatsCommand(c *cli) *cobra.Command {
	var f statsFlags
	cmd := &cobra.Command{
		Use:   "stats [OPTIONS] [CONTAINER...]",
		Short: "Display a live stream of container(s) resource usage statistics",
		Example: `  shoal stats web db
  shoal stats --no-stream --format 'table {{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}'`,
		ValidArgsFunction: c.complete(c.runningNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.stats(cmd.Context(), &f, args)
		},
	}
	addFormatFlag(cmd, &f.format)
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "Show all containers (default shows just running)")
	cmd.Flags().BoolVar(&f.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "Do not truncate output")
	return cmd
}

func (c *cli) stats(ctx context.Context, f *statsFlags, names []string) error {
	info, err := c.info(ctx)
	if err != nil {
		return err
	}
	d, err := c.client()
	if err != nil {
		return err
	}
	if f.all && len(names) == 0 {
		names = c.containerNames(ctx)
	}
	s, err := d.Containers.Stats(ctx, &api.StatsRequest{Refs: names, Stream: !f.noStream})
	if err != nil {
		return err
	}
	_, live := terminalOf(c.out)
	asked := map[string]string{}
	if !f.all {
		asked = c.namesAsked(ctx, names)
	}
	for {
		m, err := s.Recv()
		if isEOF(err) || !f.noStream && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.showStats(m, &f.listFlags, asked, uint64(info.MemoryBytes), live && !f.noStream); err != nil || f.noStream {
			return err
		}
	}
}

// namesAsked tells how each container was named, by its ID.
func (c *cli) namesAsked(ctx context.Context, names []string) map[string]string {
	asked := map[string]string{}
	for _, name := range names {
		if k, err := c.getContainer(ctx, name); err == nil {
			asked[k.Id] = name
		}
	}
	return asked
}

// showStats prints one table; on a terminal it takes the place of the one before, in a single write.
func (c *cli) showStats(m *api.StatsMessage, f *listFlags, asked map[string]string, hostMemory uint64, live bool) error {
	rows := make([]row, len(m.Stats))
	for i, s := range m.Stats {
		rows[i] = statsRow(s, hostMemory, f.noTrunc)
		rows[i]["Container"] = orElse(asked[s.Id], shortHex(s.Id))
	}
	var b bytes.Buffer
	if live {
		b.WriteString("\x1b[H\x1b[J")
	}
	page := &cli{out: &b}
	if err := page.list(statsListing, *f, rows); err != nil {
		return err
	}
	_, err := c.out.Write(b.Bytes())
	return err
}

func statsRow(s *api.ContainerStats, hostMemory uint64, noTrunc bool) row {
	id := s.Id
	if !noTrunc {
		id = shortHex(id)
	}
	limit := s.MemoryLimit
	ended := s.CpuNs == 0 && s.Pids == 0
	if !ended && limit == 0 || hostMemory > 0 && limit > hostMemory {
		limit = hostMemory
	}
	percent := 0.0
	if limit > 0 {
		percent = float64(s.MemoryBytes) / float64(limit) * 100
	}
	pair := func(a, b uint64) string {
		return units.HumanSizeWithPrecision(float64(a), 3) + " / " + units.HumanSizeWithPrecision(float64(b), 3)
	}
	return row{
		"ID": id, "Name": s.Name, "CPUPerc": fmt.Sprintf("%.2f%%", s.CpuPercent),
		"MemUsage": units.BytesSize(float64(s.MemoryBytes)) + " / " + units.BytesSize(float64(limit)), "MemPerc": fmt.Sprintf("%.2f%%", percent),
		"NetIO": pair(s.NetRxBytes, s.NetTxBytes), "BlockIO": pair(s.BlockReadBytes, s.BlockWriteBytes), "PIDs": fmt.Sprint(s.Pids),
	}
}
