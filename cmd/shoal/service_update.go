package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newServiceUpdateCommand(c *cli) *cobra.Command {
	var o serviceUpdateFlags
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] SERVICE",
		Short: "Update a service",
		Example: `  shoal service update --image nginx:1.27 --update-parallelism 2 --update-failure-action rollback web
  shoal service update --env-add MODE=test --publish-rm 80 --publish-add 8081:80 web
  shoal service update --force web     # new tasks, nothing else changes`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.goBack {
				if others := otherFlags(cmd.Flags(), "rollback", "detach", "quiet", "host"); others != "" {
					return usageError(cmd, "other options cannot be combined with --rollback: leave out --%s", others)
				}
				return c.rollback(cmd.Context(), args[0], o.detach, o.quiet)
			}
			return c.updateService(cmd, &o, args[0])
		},
	}
	o.add(cmd.Flags())
	c.completeFlag(cmd, "network-add", c.overlayNames)
	c.completeFlag(cmd, "network-rm", c.overlayNames)
	c.completeFlag(cmd, "image", c.imageNames)
	return cmd
}

// otherFlags is the first flag given that is not in the list.
func otherFlags(f *pflag.FlagSet, allowed ...string) (name string) {
	ok := map[string]bool{"tlscacert": true, "tlscert": true, "tlskey": true}
	for _, a := range allowed {
		ok[a] = true
	}
	f.Visit(func(flag *pflag.Flag) {
		if !ok[flag.Name] && name == "" {
			name = flag.Name
		}
	})
	return name
}

func (c *cli) updateService(cmd *cobra.Command, o *serviceUpdateFlags, name string) error {
	ctx := cmd.Context()
	names := map[string]string{}
	if len(o.networkAdd.values)+len(o.networkRm.values) > 0 {
		var err error
		if names, err = c.networkNames(ctx); err != nil {
			return err
		}
	}
	id, err := c.changeService(ctx, name, func(spec *api.ServiceSpec) error { return o.change(cmd.Flags(), spec, names) })
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, name)
	if o.detach {
		return nil
	}
	return c.waitService(ctx, id, o.quiet)
}

// changeService reads a service, changes a copy of its spec and writes it back. If somebody else was
// faster it starts over: change must be right on any spec.
func (c *cli) changeService(ctx context.Context, name string, change func(*api.ServiceSpec) error) (id string, err error) {
	d, err := c.client()
	if err != nil {
		return "", err
	}
	for range 5 {
		var got *api.GetServiceResponse
		if got, err = d.Control.GetService(ctx, &api.GetServiceRequest{Ref: name}); err != nil {
			return "", err
		}
		s := got.Service
		spec := proto.CloneOf(s.Spec)
		if err = change(spec); err != nil {
			return "", err
		}
		var r *api.UpdateServiceResponse
		r, err = d.Control.UpdateService(ctx, &api.UpdateServiceRequest{Ref: s.Id, Version: s.Meta.GetVersion(), Spec: spec})
		if client.CodeOf(err) == codes.Aborted {
			continue
		}
		if err != nil {
			return "", err
		}
		c.warn(r.Warnings)
		return s.Id, nil
	}
	return "", err
}
