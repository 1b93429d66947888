//go:build linux

package node

import (
	"context"
	"errors"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/rescue"
)

// A request that ends in a panic must not take the daemon, all other requests and this node's part in the cluster with it.

func (n *Node) rescueRequest(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (out any, err error) {
	err = rescue.Call(n.log, path.Base(info.FullMethod), func() error {
		out, err = handle(ctx, req)
		return err
	})
	return out, asInternal(err)
}

func (n *Node) rescueStream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return asInternal(rescue.Call(n.log, path.Base(info.FullMethod), func() error { return handle(srv, s) }))
}

func asInternal(err error) error {
	var p *rescue.Panicked
	if errors.As(err, &p) {
		return status.Error(codes.Internal, p.Error())
	}
	return err
}
