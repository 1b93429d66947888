package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newNodeCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "node", Short: "Manage the cluster's nodes"},
		newNodeListCommand(c),
		newNodeInspectCommand(c),
		newNodePsCommand(c),
		newNodeUpdateCommand(c),
		newNodeRoleCommand(c, "promote", "Promote one or more nodes to manager in the cluster", api.NodeRole_MANAGER),
		newNodeRoleCommand(c, "demote", "Demote one or more nodes from manager in the cluster", api.NodeRole_WORKER),
		newNodeRemoveCommand(c),
	)
}

// nodeRef turns "self" into this node's ID.
func (c *cli) nodeRef(ctx context.Context, ref string) (string, error) {
	if ref != "self" {
		return ref, nil
	}
	info, err := c.info(ctx)
	if err != nil {
		return "", err
	}
	return orElse(info.GetCluster().GetNodeId(), ref), nil
}

func (c *cli) getNode(ctx context.Context, ref string) (*api.Node, error) {
	ref, err := c.nodeRef(ctx, ref)
	if err != nil {
		return nil, err
	}
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.GetNode(ctx, &api.GetNodeRequest{Ref: ref})
	return r.GetNode(), err
}

// changeNode is changeService for nodes.
func (c *cli) changeNode(ctx context.Context, ref string, change func(*api.NodeSpec) error) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	for range 5 {
		var n *api.Node
		if n, err = c.getNode(ctx, ref); err != nil {
			return err
		}
		spec := proto.CloneOf(n.Spec)
		if spec == nil {
			spec = &api.NodeSpec{}
		}
		if err = change(spec); err != nil {
			return err
		}
		_, err = d.Control.UpdateNode(ctx, &api.UpdateNodeRequest{Ref: n.Id, Version: n.Meta.GetVersion(), Spec: spec})
		if client.CodeOf(err) != codes.Aborted {
			return err
		}
	}
	return err
}
