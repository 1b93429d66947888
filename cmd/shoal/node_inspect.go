package main

import (
	"context"
	"fmt"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNodeInspectCommand(c *cli) *cobra.Command {
	var format string
	var human bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] self|NODE [NODE...]",
		Short: "Display detailed information on one or more nodes",
		Example: `  shoal node inspect --pretty self
  shoal node inspect -f '{{json .Spec.Labels}}' node2`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if human && format != "" {
				return usageError(cmd, "--format is incompatible with human friendly format")
			}
			if human {
				return c.each(args, func(name string) error { return c.prettyNode(cmd.Context(), name) })
			}
			return c.inspect(cmd.Context(), args, format, c.lookupNode)
		},
	}
	addObjectFormat(cmd, &format)
	cmd.Flags().BoolVar(&human, "pretty", false, "Print the information in a human friendly format")
	return cmd
}

func (c *cli) lookupNode(ctx context.Context, name string) (any, error) {
	n, err := c.getNode(ctx, name)
	if err != nil {
		return nil, err
	}
	return nodeObject(n), nil
}

func nodeObject(n *api.Node) map[string]any {
	o := meta(n.Id, n.Meta)
	d := n.Description
	o["Spec"] = map[string]any{
		"Name": n.Spec.GetName(), "Labels": orEmptyMap(n.Spec.GetLabels()), "Role": lower(n.Spec.GetRole()), "Availability": lower(n.Spec.GetAvailability()),
	}
	o["Description"] = map[string]any{
		"Hostname":  d.GetHostname(),
		"Platform":  map[string]any{"Architecture": d.GetPlatform().GetArchitecture(), "OS": d.GetPlatform().GetOs()},
		"Resources": map[string]any{"NanoCPUs": d.GetResources().GetNanoCpus(), "MemoryBytes": d.GetResources().GetMemoryBytes()},
		"Engine":    map[string]any{"EngineVersion": d.GetEngineVersion(), "Labels": d.GetEngineLabels()},
		"Kernel":    d.GetKernel(),
	}
	o["Status"] = map[string]any{
		"State": lower(n.Status.GetState()), "Message": n.Status.GetMessage(), "Addr": n.Status.GetAddr(),
		"DataPathAddr": n.Status.GetDataPathAddr(), "Since": rfc3339(n.Status.GetSince()),
	}
	o["Role"], o["GatewaySubnets"], o["Number"] = lower(n.Role), n.GatewaySubnets, n.Number
	if s := managerStatus(n); s != "" {
		o["ManagerStatus"] = map[string]any{
			"Leader": n.ManagerStatus.Leader, "Reachability": strings.ToLower(reachability(n)), "Addr": n.ManagerStatus.Addr,
		}
	}
	return o
}

func reachability(n *api.Node) string {
	if n.ManagerStatus.Leader || n.ManagerStatus.Reachable {
		return "Reachable"
	}
	return "Unreachable"
}

func (c *cli) prettyNode(ctx context.Context, name string) error {
	n, err := c.getNode(ctx, name)
	if err != nil {
		return err
	}
	p, d := pretty{c.out}, n.Description
	p.head("ID", n.Id)
	p.head("Name", orElse(n.Spec.GetName(), nodeHostname(n)))
	p.pairs("Labels", n.Spec.GetLabels())
	p.head("Hostname", nodeHostname(n))
	p.head("Joined at", stamp(n.Meta.GetCreatedAt()))
	p.title("Status")
	p.item("State", title(lower(n.Status.GetState())))
	if m := n.Status.GetMessage(); m != "" {
		p.item("Message", m)
	}
	p.item("Availability", title(lower(n.Spec.GetAvailability())))
	p.item("Address", n.Status.GetAddr())
	p.item("Data path", n.Status.GetDataPathAddr())
	if s := managerStatus(n); s != "" {
		p.title("Manager Status")
		p.item("Address", n.ManagerStatus.Addr)
		p.item("Raft status", reachability(n))
		p.item("Leader", yesNo(n.ManagerStatus.Leader))
	}
	p.title("Platform")
	p.item("Operating system", d.GetPlatform().GetOs())
	p.item("Architecture", d.GetPlatform().GetArchitecture())
	p.item("Kernel", d.GetKernel())
	p.title("Resources")
	p.item("CPUs", float64(d.GetResources().GetNanoCpus())/1e9)
	p.item("Memory", units.BytesSize(float64(d.GetResources().GetMemoryBytes())))
	p.head("Engine Version", d.GetEngineVersion())
	p.pairs("Engine Labels", d.GetEngineLabels())
	fmt.Fprintln(c.out)
	return nil
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}
