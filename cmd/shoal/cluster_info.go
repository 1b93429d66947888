package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newClusterInfoCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Display this node's part in the cluster and the cluster's settings",
		Example: `  shoal cluster info
  shoal cluster info -f '{{.LocalNodeState}} {{.NodeAddr}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.clusterInfo(cmd.Context(), format)
		},
	}
	addObjectFormat(cmd, &format)
	return cmd
}

func (c *cli) clusterInfo(ctx context.Context, format string) error {
	info, err := c.info(ctx)
	if err != nil {
		return err
	}
	cl := info.GetCluster()
	if cl == nil {
		cl = &api.ClusterInfo{}
	}
	var cluster *api.Cluster
	if cl.State == api.ClusterInfo_ACTIVE && cl.Role == api.NodeRole_MANAGER {
		if cluster, err = c.getCluster(ctx); err != nil {
			return err
		}
	}
	if format != "" {
		return c.printObject(format, clusterObject(cl, cluster))
	}
	p := pretty{c.out}
	p.head("Cluster", lower(cl.State))
	p.membership(cl)
	if cluster != nil {
		p.clusterSpec(cluster.Spec)
	}
	return nil
}

func clusterObject(cl *api.ClusterInfo, cluster *api.Cluster) map[string]any {
	o := map[string]any{}
	for k, v := range messageFields(cl) {
		o[k] = v
	}
	o["LocalNodeState"] = lower(cl.State)
	if cluster != nil {
		o["Spec"] = messageFields(cluster.Spec)
		o["CACert"] = string(cluster.CaCert)
		o["DataPathPort"] = cluster.DataPathPort
	}
	return o
}

// membership prints a node's part; `shoal info` shows the same.
func (p pretty) membership(cl *api.ClusterInfo) {
	if cl.GetError() != "" {
		p.item("Error", cl.Error)
	}
	if cl.GetState() == api.ClusterInfo_INACTIVE {
		return
	}
	p.item("ClusterID", cl.ClusterId)
	p.item("NodeID", cl.NodeId)
	p.item("Node Address", cl.NodeAddr)
	p.item("Role", lower(cl.Role))
	if cl.Role == api.NodeRole_MANAGER {
		p.item("Managers", cl.Managers)
		p.item("Reachable", cl.ManagersReachable)
		p.item("Nodes", cl.Nodes)
		p.item("Leader", orElse(cl.LeaderId, "none"))
	}
	p.list("Manager Addrs", cl.ManagerAddrs)
}

// clusterSpec shows what is set; the managers have defaults for the rest.
func (p pretty) clusterSpec(s *api.ClusterSpec) {
	p.title("Settings")
	for _, setting := range []struct {
		name, value string
		set         bool
	}{
		{"Address Pools", strings.Join(s.GetAddressPools(), " "), len(s.GetAddressPools()) > 0},
		{"Subnet Size", fmt.Sprint(s.GetSubnetSize()), s.GetSubnetSize() > 0},
		{"Node Pool", s.GetNodePool(), s.GetNodePool() != ""},
		{"Lost After", s.GetLostAfter().AsDuration().String(), s.GetLostAfter() != nil},
		{"Cert Expiry", s.GetNodeCertExpiry().AsDuration().String(), s.GetNodeCertExpiry() != nil},
		{"Task History", fmt.Sprint(s.GetTaskHistoryLimit()), s.GetTaskHistoryLimit() > 0},
	} {
		if !setting.set {
			setting.value = "default"
		}
		p.item(setting.name, setting.value)
	}
}
