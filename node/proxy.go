//go:build linux

package node

import (
	"context"
	"errors"
	"io"
	"net"
	"path"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that codec falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/proto/api"
)

// The local socket outlives memberships: a manager comes and goes with the node's role. Requests for services that the
// socket's own server does not have are passed on, frame by frame and unread, to the manager of the moment.

// maxMessage bounds what is passed on either way. Nothing here comes from another host.
const maxMessage = 512 << 20

// frame is a message that nobody here looks into.
type frame struct{ data mem.BufferSlice }

// codec passes frames as they are and everything else to protobuf.
type codec struct{ proto encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.data, nil
	}
	return c.proto.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		data.Ref() // the stream frees its own reference when Unmarshal returns
		f.data = data
		return nil
	}
	return c.proto.Unmarshal(data, v)
}

func (c codec) Name() string { return "proto" }

// passOn is the handler of unknown services: target says where to, or why not.
func passOn(target func() (*grpc.ClientConn, error)) grpc.StreamHandler {
	return func(_ any, in grpc.ServerStream) error {
		method, ok := grpc.MethodFromServerStream(in)
		if !ok {
			return status.Error(codes.Internal, "request without a method")
		}
		if ofSocket(method) {
			return status.Errorf(codes.Unimplemented, "unknown method %s", path.Base(method))
		}
		conn, err := target()
		if err != nil {
			return err
		}
		return relay(in, conn, method)
	}
}

// ofSocket tells the methods that only the socket's own server could have: it is of an older version than who asks.
func ofSocket(method string) bool {
	service := strings.TrimPrefix(path.Dir(method), "/")
	return slices.Contains([]string{api.Local_ServiceDesc.ServiceName, api.Containers_ServiceDesc.ServiceName, api.Images_ServiceDesc.ServiceName}, service)
}

func relay(in grpc.ServerStream, conn *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	out, err := conn.NewStream(ctx, desc, method, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return err
	}
	go func() {
		if err := pump(in, out); err != nil {
			cancel()
			return
		}
		out.CloseSend()
	}()
	err = pump(out, in)
	in.SetTrailer(out.Trailer())
	return err
}

// pump copies messages until the source ends; io.EOF is a normal end.
func pump(from interface{ RecvMsg(any) error }, to interface{ SendMsg(any) error }) error {
	for {
		f := &frame{}
		if err := from.RecvMsg(f); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := to.SendMsg(f); err != nil {
			return err
		}
	}
}

// pipeListener accepts connections made by its own dial, within this process.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "in-process", Net: "unix"} }

func (l *pipeListener) dial(ctx context.Context, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect returns a client of the listener's server.
func (l *pipeListener) connect() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:in-process",
		grpc.WithContextDialer(l.dial), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
}
