package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var serviceListing = listing{
	fields: []field{{"ID", "ID"}, {"Name", "NAME"}, {"Mode", "MODE"}, {"Replicas", "REPLICAS"}, {"Image", "IMAGE"}, {"Ports", "PORTS"}},
	table:  "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
	quiet:  "ID",
}

func newServiceListCommand(c *cli) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List services",
		Example: `  shoal service ls --filter mode=global
  shoal service ls --format '{{.Name}} {{.Replicas}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.filter.oneOf("mode", "replicated", "global"); err != nil {
				return err
			}
			rows, err := c.serviceRows(cmd.Context(), &f)
			if err != nil {
				return err
			}
			return c.list(serviceListing, f, rows)
		},
	}
	addListFlags(cmd, &f, "Only display IDs", "", "id", "label", "mode", "name")
	return cmd
}

func (c *cli) serviceRows(ctx context.Context, f *listFlags) ([]row, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.ListServices(ctx, &api.ListServicesRequest{})
	if err != nil {
		return nil, err
	}
	counts := map[string]*api.ServiceCounts{}
	for _, n := range r.Counts {
		counts[n.ServiceId] = n
	}
	slices.SortFunc(r.Services, func(a, b *api.Service) int { return strings.Compare(a.Spec.GetName(), b.Spec.GetName()) })
	var rows []row
	for _, s := range r.Services {
		if f.filter.prefix("id", s.Id) && f.filter.contains("name", s.Spec.GetName()) &&
			f.filter.exact("mode", modeName(s.Spec)) && f.filter.labels("label", s.Spec.GetLabels()) {
			rows = append(rows, serviceRow(s, counts[s.Id], f.quiet))
		}
	}
	return rows, nil
}

func serviceRow(s *api.Service, n *api.ServiceCounts, quiet bool) row {
	id := shortID(s.Id)
	if quiet {
		id = s.Id
	}
	return row{
		"ID": id, "Name": s.Spec.GetName(), "Mode": modeName(s.Spec), "Replicas": replicas(s, n),
		"Image": s.Spec.GetContainer().GetImage(), "Ports": portsText(s), labelsKey: s.Spec.GetLabels(),
	}
}

func modeName(s *api.ServiceSpec) string {
	if s.GetMode().GetGlobal() {
		return "global"
	}
	return "replicated"
}

func replicas(s *api.Service, n *api.ServiceCounts) string {
	text := fmt.Sprintf("%d/%d", n.GetRunning(), n.GetDesired())
	if limit := s.Spec.GetPlacement().GetMaxReplicasPerNode(); limit > 0 {
		text += fmt.Sprintf(" (max %d per node)", limit)
	}
	return text
}

// portsText lists the ingress ports as Docker does: *:8080->80/tcp.
func portsText(s *api.Service) string {
	ports := s.Endpoint.GetPorts()
	if len(ports) == 0 {
		ports = s.Spec.GetEndpoint().GetPorts()
	}
	var out []string
	for _, p := range ports {
		if p.Mode == api.PublishMode_INGRESS {
			out = append(out, fmt.Sprintf("*:%d->%d/%s", p.PublishedPort, p.TargetPort, protocolOf(p)))
		}
	}
	return strings.Join(out, ", ")
}

func protocolOf(p *api.PortConfig) string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}
