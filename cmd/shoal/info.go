package main

import (
	"context"
	"fmt"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newInfoCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Display system-wide information",
		Example: `  shoal info
  shoal info -f '{{.Name}} {{.ContainersRunning}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.showInfo(cmd.Context(), format)
		},
	}
	addObjectFormat(cmd, &format)
	return cmd
}

func (c *cli) showInfo(ctx context.Context, format string) error {
	info, err := c.info(ctx)
	if err != nil {
		return err
	}
	if format != "" {
		return c.printObject(format, infoObject(info))
	}
	fmt.Fprintf(c.out, "Client:\n Version: %s\n\nServer:\n", buildVersion())
	p := pretty{c.out}
	p.item("Containers", info.Containers)
	fmt.Fprintf(c.out, "  Running: %d\n  Paused: %d\n  Stopped: %d\n", info.ContainersRunning, info.ContainersPaused, info.ContainersStopped)
	p.item("Images", info.Images)
	p.item("Server Version", info.Version)
	p.item("Storage Driver", info.StorageDriver)
	p.item("Cgroup Version", info.CgroupVersion)
	p.item("Runtimes", strings.Join(info.Runtimes, " "))
	p.item("Security", strings.Join(info.SecurityOptions, " "))
	p.lines("CDI spec directories", info.CdiSpecDirs)
	p.lines("Discovered Devices", prefixed("cdi: ", info.CdiDevices))
	p.item("Kernel Version", info.Kernel)
	p.item("OS/Arch", info.Os+"/"+info.Architecture)
	p.item("CPUs", info.Cpus)
	p.item("Total Memory", units.BytesSize(float64(info.MemoryBytes)))
	p.item("Name", info.Hostname)
	p.item("Data Directory", info.DataDir)
	p.item("Run Directory", info.RunDir)
	p.item("Cluster", lower(info.GetCluster().GetState()))
	if info.Cluster != nil {
		p.membership(info.Cluster)
	}
	c.warn(info.Warnings)
	return nil
}

// lines is one entry a line.
func (p pretty) lines(name string, entries []string) {
	if len(entries) == 0 {
		return
	}
	fmt.Fprintf(p.w, " %s:\n", name)
	for _, e := range entries {
		fmt.Fprintf(p.w, "  %s\n", e)
	}
}

// infoObject has Docker's names where Docker has one.
func infoObject(i *api.InfoResponse) map[string]any {
	return map[string]any{
		"ServerVersion": i.Version, "GitCommit": i.Commit, "GoVersion": i.GoVersion, "Name": i.Hostname,
		"KernelVersion": i.Kernel, "OSType": i.Os, "Architecture": i.Architecture, "NCPU": i.Cpus, "MemTotal": i.MemoryBytes,
		"DataDir": i.DataDir, "DockerRootDir": i.DataDir, "CgroupDriver": "cgroupfs", "RunDir": i.RunDir, "CgroupVersion": i.CgroupVersion, "Runtimes": runtimeObjects(i.Runtimes), "DefaultRuntime": "shoal", "LoggingDriver": "json-file", "LiveRestoreEnabled": true, "Driver": i.StorageDriver,
		"SecurityOptions": i.SecurityOptions, "Containers": i.Containers, "ContainersRunning": i.ContainersRunning,
		"ContainersPaused": i.ContainersPaused, "ContainersStopped": i.ContainersStopped, "Images": i.Images, "Warnings": i.Warnings,
		"Cluster": clusterObject(orEmpty(i.Cluster), nil), "ClientVersion": buildVersion(), "ClientInfo": map[string]any{"Version": buildVersion()},
		"CDISpecDirs": i.CdiSpecDirs, "DiscoveredDevices": discoveredDevices(i.CdiDevices),
	}
}

// runtimeObjects are by name, as Docker's.
func runtimeObjects(names []string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = map[string]any{"path": n}
	}
	return out
}

func discoveredDevices(names []string) []any {
	out := []any{}
	for _, n := range names {
		out = append(out, map[string]any{"Source": "cdi", "ID": n})
	}
	return out
}

func prefixed(with string, list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = with + s
	}
	return out
}

func orEmpty(c *api.ClusterInfo) *api.ClusterInfo {
	if c == nil {
		return &api.ClusterInfo{}
	}
	return c
}
