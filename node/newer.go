//go:build linux

package node

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/known"
)

// A command of a newer version may ask for what this daemon does not know. It is told so; the rest is not done without it.

func wholeRequest(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := knows(req); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func wholeStream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, wholeMessages{s})
}

type wholeMessages struct{ grpc.ServerStream }

func (s wholeMessages) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return knows(m)
}

// knows lets frames pass: the manager looks into them.
func knows(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	if field := known.Missing(m); field != "" {
		return status.Error(codes.Unimplemented, field)
	}
	return nil
}
