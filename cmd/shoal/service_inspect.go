package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServiceInspectCommand(c *cli) *cobra.Command {
	var format string
	var pretty bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] SERVICE [SERVICE...]",
		Short: "Display detailed information on one or more services",
		Example: `  shoal service inspect --pretty web
  shoal service inspect -f '{{json .Endpoint.VirtualIPs}}' web`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if pretty && format != "" {
				return usageError(cmd, "--format is incompatible with human friendly format")
			}
			if pretty {
				return c.each(args, func(name string) error { return c.prettyService(cmd.Context(), name) })
			}
			return c.inspect(cmd.Context(), args, format, c.lookupService)
		},
	}
	addObjectFormat(cmd, &format)
	cmd.Flags().BoolVar(&pretty, "pretty", false, "Print the information in a human friendly format")
	return cmd
}

func (c *cli) lookupService(ctx context.Context, name string) (any, error) {
	r, err := c.getService(ctx, name)
	if err != nil {
		return nil, err
	}
	return serviceObject(r.Service), nil
}

// serviceObject has Docker's shape: the parts that make a task are gathered in TaskTemplate.
func serviceObject(s *api.Service) map[string]any {
	o := meta(s.Id, s.Meta)
	o["Spec"] = serviceSpecObject(s.Spec)
	o["Revision"], o["PreviousRevision"] = s.Revision, s.PreviousRevision
	o["Endpoint"] = map[string]any{
		"Spec": endpointSpecObject(s.Spec.GetEndpoint()), "Ports": portConfigObjects(s.Endpoint.GetPorts()), "VirtualIPs": virtualIPObjects(s.Endpoint.GetVirtualIps()),
	}
	if s.UpdateStatus.GetState() != api.UpdateStatus_NONE {
		u := s.UpdateStatus
		o["UpdateStatus"] = map[string]any{
			"State": updateState(u.State), "StartedAt": rfc3339(u.StartedAt), "CompletedAt": rfc3339(u.CompletedAt), "Message": u.Message,
		}
	}
	if s.AllocationError != "" {
		o["AllocationError"] = s.AllocationError
	}
	return o
}

// updateState is Docker's word: rollback_started, completed.
func updateState(s api.UpdateStatus_State) string { return strings.ToLower(s.String()) }

func serviceSpecObject(s *api.ServiceSpec) map[string]any {
	l := s.GetContainer().GetLimits()
	mode := map[string]any{"Replicated": map[string]any{"Replicas": s.GetMode().GetReplicas()}}
	if s.GetMode().GetGlobal() {
		mode = map[string]any{"Global": map[string]any{}}
	}
	networks := []any{}
	for _, n := range s.GetNetworks() {
		networks = append(networks, map[string]any{"Target": n.Network, "Aliases": orNone(n.Aliases)})
	}
	return map[string]any{
		"Name": s.GetName(), "Labels": orEmptyMap(s.GetLabels()), "Mode": mode,
		"TaskTemplate": map[string]any{
			"ContainerSpec": messageValue(s.GetContainer()),
			"Resources": map[string]any{
				"Limits":       map[string]any{"NanoCPUs": l.GetNanoCpus(), "MemoryBytes": l.GetMemoryBytes(), "Pids": l.GetPids()},
				"Reservations": map[string]any{"NanoCPUs": s.GetReservations().GetNanoCpus(), "MemoryBytes": s.GetReservations().GetMemoryBytes()},
			},
			"RestartPolicy": messageValue(s.GetRestart()), "Placement": messageValue(s.GetPlacement()),
			"Networks": networks, "ForceUpdate": s.GetForceUpdate(),
		},
		"UpdateConfig": messageValue(s.GetUpdate()), "RollbackConfig": messageValue(s.GetRollback()),
		"EndpointSpec": endpointSpecObject(s.GetEndpoint()),
	}
}

func endpointSpecObject(e *api.EndpointSpec) map[string]any {
	return map[string]any{"Mode": lower(e.GetMode()), "Ports": portConfigObjects(e.GetPorts())}
}

func portConfigObjects(ports []*api.PortConfig) []any {
	out := []any{}
	for _, p := range ports {
		out = append(out, map[string]any{
			"Name": p.Name, "Protocol": protocolOf(p), "TargetPort": p.TargetPort, "PublishedPort": p.PublishedPort, "PublishMode": lower(p.Mode),
		})
	}
	return out
}

func virtualIPObjects(ips []*api.VirtualIP) []any {
	out := []any{}
	for _, v := range ips {
		for _, a := range v.Addresses {
			out = append(out, map[string]any{"NetworkID": v.NetworkId, "Addr": a})
		}
	}
	return out
}
