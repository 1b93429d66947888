package manager

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/proto/api"
)

// A request that panics fails; the manager goes on.
func TestPanicInARequest(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	broken := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if strings.HasSuffix(info.FullMethod, "/ListNodes") {
			panic("broken")
		}
		return handle(ctx, req)
	}
	brokenStream := func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { panic("broken") }
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(a.UnaryInterceptor, broken), grpc.ChainStreamInterceptor(a.StreamInterceptor, brokenStream))
	a.Register(srv)
	l, err := net.Listen("unix", t.TempDir()+"/s")
	check(t, err)
	go srv.Serve(l)
	defer srv.Stop()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	defer conn.Close()
	_, err = api.NewControlClient(conn).ListNodes(t.Context(), &api.ListNodesRequest{})
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "internal error in ListNodes: see the daemon's log") {
		t.Errorf("a request: %v", err)
	}
	watch, err := api.NewControlClient(conn).Watch(t.Context(), &api.WatchRequest{})
	check(t, err)
	if _, err := watch.Recv(); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "internal error in Watch") {
		t.Errorf("a stream: %v", err)
	}
	made(t, api.NewControlClient(conn), "n")
}
