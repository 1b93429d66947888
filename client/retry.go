package client

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/pause"
)

// unary repeats reads while managers elect a leader and cleans the error that is left.
func (c *Client) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	deadline := time.Now().Add(c.opts.RetryFor)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if err == nil || !c.worthRetry(method, err) || time.Now().Add(wait).After(deadline) {
			return c.clean(ctx, method, err)
		}
		if pause.For(ctx, wait) != nil {
			return c.clean(ctx, method, err)
		}
	}
}

// worthRetry: only reads, and only when a daemon answered that it cannot answer right now.
// A daemon that is not there will not appear, and the person should hear of it at once.
func (c *Client) worthRetry(method string, err error) bool {
	return isRead(method) && status.Code(err) == codes.Unavailable && c.dialErr.Load() == nil
}

// isRead tells whether a method of Control changes nothing.
func isRead(method string) bool {
	verb, ok := strings.CutPrefix(method, "/shoal.api.Control/")
	return ok && (strings.HasPrefix(verb, "List") || strings.HasPrefix(verb, "Get"))
}

// stream cleans the errors of a stream: of its opening and of every receive.
func (c *Client) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, c.clean(ctx, method, err)
	}
	return &cleanStream{ClientStream: s, c: c, ctx: ctx, method: method}, nil
}

// cleanStream remembers the caller's context: the stream's own has ended by the time an error comes out.
type cleanStream struct {
	grpc.ClientStream
	c      *Client
	ctx    context.Context
	method string
}

func (s *cleanStream) RecvMsg(m any) error {
	return s.c.clean(s.ctx, s.method, s.ClientStream.RecvMsg(m))
}

func (s *cleanStream) SendMsg(m any) error {
	return s.c.clean(s.ctx, s.method, s.ClientStream.SendMsg(m))
}
