package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

// clusterInitFlags are the request, and what of the cluster's specification differs from its defaults.
type clusterInitFlags struct {
	req               api.InitClusterRequest
	pools             []string
	subnetSize        uint32
	history           uintOpt
	expiry, lostAfter durationOpt
}

func newClusterInitCommand(c *cli) *cobra.Command {
	var o clusterInitFlags
	cmd := &cobra.Command{
		Use:   "init [OPTIONS]",
		Short: "Initialize a cluster",
		Example: `  shoal cluster init --advertise-addr 10.0.0.1
  shoal cluster init --advertise-addr eth1 --default-addr-pool 10.128.0.0/10 --lost-after 10s`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.initCluster(cmd, &o) },
	}
	f := cmd.Flags()
	addAddrFlags(cmd, &o.req.AdvertiseAddr, &o.req.ListenAddr, &o.req.DataPathAddr)
	f.BoolVar(&o.req.ForceNewCluster, "force-new-cluster", false, "Force create a new cluster from current state")
	f.StringSliceVar(&o.pools, "default-addr-pool", nil, "Address pools of overlay networks in CIDR format (default 10.96.0.0/12)")
	f.Uint32Var(&o.subnetSize, "default-addr-pool-mask-length", 0, "Prefix length of an overlay network (default 22)")
	f.Var(&o.history, "task-history-limit", "Task history retention limit (default 5)")
	f.Var(&o.expiry, "cert-expiry", "Validity period for node certificates (ns|us|ms|s|m|h) (default 2160h0m0s)")
	f.Var(&o.lostAfter, "lost-after", "How long a node may be down before its tasks are replaced (ns|us|ms|s|m|h) (default 2s)")
	return cmd
}

func (c *cli) initCluster(cmd *cobra.Command, o *clusterInitFlags) error {
	if err := o.fillSpec(cmd.Flags()); err != nil {
		return err
	}
	d, err := c.needLocal(cmd.CommandPath())
	if err != nil {
		return err
	}
	r, err := d.Local.InitCluster(cmd.Context(), &o.req)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Cluster initialized: current node (%s) is now a manager.\n\n", r.NodeId)
	c.joinHint("worker", r.WorkerToken, r.Addr)
	fmt.Fprintln(c.out, "To add a manager to this cluster, run 'shoal cluster token manager' and follow the instructions.")
	return nil
}

// fillSpec leaves the specification out when all of it is left to the daemon.
func (o *clusterInitFlags) fillSpec(f *pflag.FlagSet) error {
	if f.Changed("task-history-limit") && (o.history.value == 0 || o.history.value > math.MaxUint32) {
		return fmt.Errorf("--task-history-limit %d is out of range: at least 1", o.history.value)
	}
	if !anyChanged(f, "default-addr-pool", "default-addr-pool-mask-length", "task-history-limit", "cert-expiry", "lost-after") {
		return nil
	}
	o.req.Spec = &api.ClusterSpec{AddressPools: o.pools, SubnetSize: o.subnetSize, TaskHistoryLimit: uint32(o.history.value)}
	givenDuration(f, "cert-expiry", &o.req.Spec.NodeCertExpiry, o.expiry)
	givenDuration(f, "lost-after", &o.req.Spec.LostAfter, o.lostAfter)
	return nil
}

// addAddrFlags defines where a node is reached; init and join share them.
func addAddrFlags(cmd *cobra.Command, advertise, listen, dataPath *string) {
	f := cmd.Flags()
	f.StringVar(advertise, "advertise-addr", "", `Advertised address (format: "<ip|interface>[:port]")`)
	f.StringVar(listen, "listen-addr", "", `Listen address (format: "<ip|interface>[:port]") (default: what the daemon was started with)`)
	f.StringVar(dataPath, "data-path-addr", "", `Address or interface to use for data path traffic (format: "<ip|interface>")`)
}
